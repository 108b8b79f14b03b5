//! What came of reading one section.

use super::word::word;

word!(
    /// The outcome of reading a section.
    ///
    /// The first three are facts about the vendor and can be compared with a baseline. The others say that nothing is
    /// known, and are never compared with anything: a refused read is not a deletion.
    State {
        /// It was read, and has a document.
        Value = "value",
        /// The feature is switched off or was never set up.
        Off = "off",
        /// The vendor's plan does not include the feature.
        NotOnPlan = "not_on_plan",
        /// The credential may not read it.
        NotPermitted = "not_permitted",
        /// It could not be read this time, or the answer could not be used.
        Unreachable = "unreachable",
        /// It was read twice, and the value looks more like a fault of the reader than like a change of the setting.
        Suspect = "suspect",
    }
);

impl State {
    /// Whether the state says something about the vendor's settings.
    pub fn is_comparable(self) -> bool {
        matches!(self, Self::Value | Self::Off | Self::NotOnPlan)
    }
}
