//! Which file of `src` uses which, with every name followed to the file that defines it.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{File, Import};

/// The modules of the crate, by path: `["store", "open"]`.
pub(crate) struct Tree<'a> {
    modules: BTreeMap<Vec<String>, Module<'a>>,
}

struct Module<'a> {
    file: &'a File,
    /// Names that `use` brings in, and the absolute path of each.
    names: BTreeMap<String, Vec<String>>,
}

impl<'a> Tree<'a> {
    pub(crate) fn new(files: &'a [File]) -> Self {
        let module = |file: &'a File| (file.module_path(), Module { file, names: BTreeMap::new() });
        let mut tree = Self { modules: files.iter().map(module).collect() };
        // A name can come in by a path that begins with a name of the same module, so this goes on until nothing is new.
        while tree.add_names() {}
        tree
    }

    fn add_names(&mut self) -> bool {
        let mut found = Vec::new();
        for (at, module) in &self.modules {
            for Import { path, name, .. } in module.file.imports() {
                let is_new = !module.names.contains_key(&name);
                found.extend(self.absolute(at, &path).filter(|_| is_new).map(|path| (at.clone(), name, path)));
            }
        }
        let is_any = !found.is_empty();
        for (at, name, path) in found {
            if let Some(module) = self.modules.get_mut(&at) {
                module.names.insert(name, path);
            }
        }
        is_any
    }

    /// The path from the root of the crate; none for other crates and local names.
    fn absolute(&self, at: &[String], path: &[String]) -> Option<Vec<String>> {
        let supers = path.iter().take_while(|name| *name == "super").count();
        let child = || [at, &path[..1]].concat();
        match path.first()?.as_str() {
            "crate" | "authdrift" => Some(path[1..].to_vec()),
            "self" => Some([at, &path[1..]].concat()),
            "super" => Some([at.get(..at.len().checked_sub(supers)?)?, &path[supers..]].concat()),
            _ if self.modules.contains_key(&child()) => Some([at, path].concat()),
            first => {
                let names = &self.modules.get(at)?.names;
                names.get(first).map(|target| [target.as_slice(), &path[1..]].concat())
            }
        }
    }

    /// The file that defines the last name of an absolute path, behind any number of `pub use`.
    fn defined_in(&self, path: &[String]) -> Option<&'a str> {
        let mut at = Vec::new();
        for (place, name) in path.iter().enumerate() {
            let next = [at.as_slice(), std::slice::from_ref(name)].concat();
            let module = self.modules.get(&at)?;
            if self.modules.contains_key(&next) {
                at = next;
            } else if let Some(target) = module.names.get(name).filter(|target| **target != path[..=place]) {
                return self.defined_in(&[target.as_slice(), &path[place + 1..]].concat());
            } else {
                return Some(&module.file.path);
            }
        }
        self.file_of(&at)
    }

    fn file_of(&self, module: &[String]) -> Option<&'a str> {
        self.modules.get(module).map(|module| module.file.path.as_str())
    }

    /// The files that each file uses. A `pub use` hands a name on and is no use by itself, and a file belongs to the modules
    /// above it, so it may use their types.
    pub(crate) fn uses(&self) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
        let mut uses = BTreeMap::new();
        for (at, module) in &self.modules {
            let imports = module.file.imports().into_iter();
            let imported = imports.filter(|import| !import.is_public).map(|import| import.path);
            let is_name_of_child = |path: &Vec<String>| path.len() == 1 && !module.names.contains_key(&path[0]);
            let in_code = module.file.paths_in_code().into_iter().filter(|path| !is_name_of_child(path));
            let paths = imported.chain(in_code).filter_map(|path| self.absolute(at, &path));
            let above: BTreeSet<&str> = (1..=at.len()).filter_map(|depth| self.file_of(&at[..depth])).collect();
            let files = paths.filter_map(|path| self.defined_in(&path)).filter(|used| !above.contains(used));
            uses.insert(module.file.path.as_str(), files.collect());
        }
        uses
    }
}

/// The groups of files that lead back to themselves, with the uses that make each.
pub(crate) fn circles(uses: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let reached = |start: &str| {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&str> = uses.get(start).into_iter().flatten().copied().collect();
        while let Some(file) = next.pop() {
            if reached.insert(file) {
                next.extend(uses.get(file).into_iter().flatten());
            }
        }
        reached
    };
    let all: BTreeMap<&str, BTreeSet<&str>> = uses.keys().map(|file| (*file, reached(file))).collect();
    let group = |file: &str| -> BTreeSet<&str> {
        all[file].iter().copied().filter(|other| all.get(other).is_some_and(|back| back.contains(file))).collect()
    };
    let groups: BTreeSet<BTreeSet<&str>> =
        uses.keys().map(|file| group(file)).filter(|group| !group.is_empty()).collect();
    let arrows = |group: &BTreeSet<&str>| {
        let inside =
            group.iter().flat_map(|user| uses[user].intersection(group).map(move |used| format!("{user} -> {used}")));
        inside.collect::<Vec<_>>().join("\n  ")
    };
    groups.iter().map(|group| format!("{} files:\n  {}", group.len(), arrows(group))).collect()
}
