//! Faults of answers, as a script.

use std::collections::BTreeMap;

use serde_json::Value;

/// One fault of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Another answer: any status, a JSON body, extra headers.
    Status {
        /// The HTTP status.
        status: u16,
        /// The JSON body.
        body: Value,
        /// Headers beside `content-type`.
        headers: Vec<(String, String)>,
    },
    /// No answer, ever; the connection stays open.
    Hang,
    /// The right answer with its full `content-length`, but half the body; then the connection ends.
    Truncated,
    /// 200 with a page of HTML, as a captive portal or a proxy would.
    Html,
    /// 200 `application/json` with text that is no JSON.
    NotJson,
    /// 200 `application/json` with exactly these bytes.
    Body(Vec<u8>),
    /// 200 `application/json` whose body never ends.
    Endless,
    /// 200 `application/json` whose body comes byte by byte, for ever.
    Drip,
    /// So many times, then healthy.
    Times(u32, Box<Fault>),
    /// Healthy so many times, then faulty: the second page of a list, say.
    After(u32, Box<Fault>),
    /// One after the other, then healthy. A plain fault is used once.
    Sequence(Vec<Fault>),
}

impl Fault {
    /// A plain failure with a JSON body.
    pub fn status(status: u16, body: Value) -> Self {
        Self::Status { status, body, headers: Vec::new() }
    }

    /// This fault `count` times, then healthy.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self::Times(count, Box::new(self))
    }

    /// This fault after `count` healthy answers.
    #[must_use]
    pub fn after(self, count: u32) -> Self {
        Self::After(count, Box::new(self))
    }

    /// Adds a header; only a [`Fault::Status`] has any.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Self::Status { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// What this request gets, with the script moved on; `None` is a healthy answer.
    fn next(&mut self) -> Option<Self> {
        match self {
            Self::Times(0, _) => None,
            Self::Times(left, fault) => {
                *left -= 1;
                fault.next()
            }
            Self::After(0, fault) => fault.next(),
            Self::After(left, _) => {
                *left -= 1;
                None
            }
            Self::Sequence(faults) => loop {
                let first = faults.first_mut()?;
                match first {
                    Self::Times(0, _) => _ = faults.remove(0),
                    Self::Sequence(inner) if inner.is_empty() => _ = faults.remove(0),
                    Self::After(0, inner) => *first = (**inner).clone(),
                    Self::Times(..) | Self::After(..) | Self::Sequence(_) => return first.next(),
                    _ => return Some(faults.remove(0)),
                }
            },
            other => Some(other.clone()),
        }
    }

    /// Whether every answer from now on is healthy.
    fn is_over(&self) -> bool {
        match self {
            Self::Times(0, _) => true,
            Self::Times(_, fault) | Self::After(_, fault) => fault.is_over(),
            Self::Sequence(faults) => faults.iter().all(Self::is_over),
            _ => false,
        }
    }
}

/// The faults of a server: by path, by prefix (`/v1/*`), or for all paths.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// By path; a trailing `*` stands for any rest.
    pub(super) by_path: BTreeMap<String, Fault>,
    /// Of all paths without their own.
    pub(super) everywhere: Option<Fault>,
}

impl Faults {
    /// The fault of a request for `path`: that of the exact path first, then of the longest prefix, then of all paths.
    /// A script that has ended counts no more.
    pub(super) fn next(&mut self, path: &str) -> Option<Fault> {
        self.by_path.retain(|_, fault| !fault.is_over());
        if let Some(fault) = self.by_path.get_mut(path) {
            return fault.next();
        }
        let prefix = self
            .by_path
            .iter_mut()
            .filter(|(pattern, _)| pattern.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix)))
            .max_by_key(|(pattern, _)| pattern.len());
        match prefix {
            Some((_, fault)) => fault.next(),
            None => self.everywhere.as_mut().and_then(Fault::next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn turns(mut fault: Fault, count: usize) -> Vec<Option<u16>> {
        let status = |fault: Fault| match fault {
            Fault::Status { status, .. } => status,
            _ => 0,
        };
        (0..count).map(|_| fault.next().map(status)).collect()
    }

    #[test]
    fn scripts_run_in_order_and_end_healthy() {
        let failing = |status| Fault::status(status, json!({}));
        assert_eq!(turns(failing(500), 3), [Some(500), Some(500), Some(500)], "plain faults last");
        assert_eq!(turns(failing(500).times(2), 3), [Some(500), Some(500), None]);
        assert_eq!(turns(failing(500).after(1), 3), [None, Some(500), Some(500)]);
        assert_eq!(turns(failing(500).times(1).after(1), 3), [None, Some(500), None]);
        let script = Fault::Sequence(vec![failing(500).times(2), failing(410), Fault::Hang, failing(302)]);
        assert_eq!(turns(script, 6), [Some(500), Some(500), Some(410), Some(0), Some(302), None]);
        let script = Fault::Sequence(vec![failing(500).after(1), failing(410)]);
        assert_eq!(turns(script, 4), [None, Some(500), Some(410), None]);
        let script = Fault::Sequence(vec![Fault::Sequence(vec![failing(500), failing(501)]), failing(410)]);
        assert_eq!(turns(script, 4), [Some(500), Some(501), Some(410), None]);
    }

    #[test]
    fn the_most_exact_path_decides() {
        let by_path = [("/v1/*", Fault::Html), ("/v1/instance*", Fault::NotJson), ("/v1/instance", Fault::Endless)];
        let by_path = by_path.map(|(path, fault)| (path.to_owned(), fault)).into();
        let mut faults = Faults { by_path, everywhere: Some(Fault::Hang) };
        assert_eq!(faults.next("/v1/instance"), Some(Fault::Endless));
        assert_eq!(faults.next("/v1/instance/protect"), Some(Fault::NotJson));
        assert_eq!(faults.next("/v1/domains"), Some(Fault::Html));
        assert_eq!(faults.next("/other"), Some(Fault::Hang));
        assert_eq!(Faults::default().next("/v1/instance"), None);
    }
}
