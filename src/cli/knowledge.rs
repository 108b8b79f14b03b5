//! Commands that show what authdrift knows about settings and sections.

pub mod explain;
pub mod sections;
pub mod settings;

use super::command::command_group;

command_group! {
    KnowledgeCommand {
        Explain(explain::ExplainOptions),
        Settings(settings::SettingsOptions),
        Sections(sections::SectionsOptions),
    }
}
