//! What every bench asks of the machine and of the recorded tenant.

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use authdrift::model::Provider;
use authdrift::sections::Table;
use authdrift::simulator::vendor::Documents;
use serde_json::Value;

/// What came of a step.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What the system says about the memory of a process, in bytes.
pub(crate) fn memory(process: impl Display, name: &str) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// The documents of the recorded tenant, by path.
pub(crate) fn recorded() -> Option<Documents> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let named = env::var_os("AUTHDRIFT_SHARED").map(PathBuf::from);
    let folder = named.into_iter().chain([beside]).map(|shared| shared.join("fixtures/auth0/tenant"));
    let folder = folder.into_iter().find(|path| path.is_dir())?;
    let read = |file: &Path| serde_json::from_slice::<Value>(&fs::read(file).unwrap()).unwrap();
    let mut documents = Documents::new();
    for entry in read(&folder.join("index.json")).as_array()? {
        let (path, query) = (entry["path"].as_str()?, entry["query"].as_str().unwrap_or_default());
        let is_part = query.contains("is_global=true") || query.contains("strategy=");
        let section = Table::of(Provider::Auth0).sections().iter().find(|section| is_at(&section.path, path));
        if let Some(section) = section.filter(|_| entry["status"] == 200 && !is_part) {
            let body = read(&folder.join(entry["file"].as_str()?))["body"].take();
            // Lists go in bare, so that the simulator makes the pages.
            let items = section.items.as_ref().and_then(|items| body.get(items)).cloned();
            documents.insert(path.to_owned(), items.unwrap_or(body));
        }
    }
    Some(documents)
}

/// Whether `path` is one of the addresses that `pattern` stands for.
fn is_at(pattern: &str, path: &str) -> bool {
    let (wanted, found): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    wanted.len() == found.len() && wanted.iter().zip(found).all(|(one, other)| one.starts_with('{') || *one == other)
}

pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

pub(crate) fn say(text: &str) -> Outcome<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// The machine in words: processor, cores, memory, system, and whether anything else was running.
pub(crate) fn machine() -> Outcome<String> {
    let field = |file: &str, name: &str| -> Outcome<String> {
        let text = fs::read_to_string(file)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.unwrap_or_default().trim_matches([':', '=', '"', ' ', '\t']).to_owned())
    };
    let cores = std::thread::available_parallelism()?;
    let memory: u64 = field("/proc/meminfo", "MemTotal")?.trim_end_matches(" kB").parse()?;
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(format!(
        "{cores} cores of {}, {} GB of memory, {}, at a load of {}",
        field("/proc/cpuinfo", "model name")?,
        memory / 1_000_000,
        field("/etc/os-release", "PRETTY_NAME")?,
        load.split(' ').next().unwrap_or_default(),
    ))
}
