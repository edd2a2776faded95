//! The waiting rooms of the in-process engine on disk, so that places outlive the process.
//!
//! One JSON file beside the database, replaced as a whole every moment in which something changed. Orders never depend on
//! it: a file that is missing, older or damaged costs places, nothing else.

use std::{collections::BTreeMap, io::Write, path::Path};

use serde::{Deserialize, Serialize};

use crate::domain::PromoId;

use super::room::Room;

/// The version this program writes, and the only one it reads.
const VERSION: u32 = 1;

/// Every room at about one instant.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedRooms {
    v: u32,
    pub rooms: BTreeMap<PromoId, Room>,
}

impl SavedRooms {
    pub fn new(rooms: BTreeMap<PromoId, Room>) -> Self {
        Self { v: VERSION, rooms }
    }

    /// Replaces the file. Blocks: to be called off the async threads.
    pub fn write(&self, file: &Path) -> std::io::Result<()> {
        let text = serde_json::to_vec(self)?;
        let fresh = file.with_extension("rooms-fresh");
        let mut written = std::fs::File::create(&fresh)?;
        written.write_all(&text)?;
        written.sync_all()?;
        std::fs::rename(fresh, file)
    }

    /// Reads the file. `None`: there is none, or none that can be used. Blocks: to be called off the async threads.
    pub fn read(file: &Path) -> Option<Self> {
        let text = match std::fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "saved places cannot be read and are lost");
                return None;
            }
        };
        match serde_json::from_slice::<Self>(&text) {
            Ok(saved) if saved.v == VERSION => Some(saved),
            Ok(saved) => {
                tracing::warn!(version = saved.v, "saved places are of another version and are lost");
                None
            }
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "saved places are damaged and are lost");
                None
            }
        }
    }
}
