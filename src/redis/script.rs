//! A Lua script and its name on the server.

use std::sync::OnceLock;

use fred::util::sha1_hash;

/// A script, to be declared as a `static`.
#[derive(Debug)]
pub struct Script {
    name: &'static str,
    /// The parts of its text, which one after the other are the whole: shared functions first.
    parts: &'static [&'static str],
    text: OnceLock<(String, String)>,
}

impl Script {
    /// `name`: its verb, for logs. `parts`: its text, joined with line ends, so that scripts can share functions.
    pub const fn new(name: &'static str, parts: &'static [&'static str]) -> Self {
        Self { name, parts, text: OnceLock::new() }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The whole text.
    pub fn source(&self) -> &str {
        &self.text().0
    }

    /// SHA-1 of the text, by which a server knows it.
    pub fn hash(&self) -> &str {
        &self.text().1
    }

    fn text(&self) -> &(String, String) {
        self.text.get_or_init(|| {
            let source = self.parts.join("\n");
            let hash = sha1_hash(&source);
            (source, hash)
        })
    }
}
