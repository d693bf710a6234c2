//! Everything that crosses a process: ids, records, the objects of the store and their keys.
//!
//! Pure data. What is validated here is what the record alone can tell; whether a file exists is for its reader to find out.

mod audit;
mod chunk;
mod clip;
mod consent;
mod damage;
mod decisions;
mod event;
mod hdr;
mod id;
mod job;
pub mod keys;
mod label;
mod moment;
mod person;
mod run;
mod sealed;
mod source_type;
mod swap;
pub mod topics;

pub use audit::{AuditRecord, AuditedConsent, AuditedOutput};
pub use chunk::{ChunkRecord, ChunkSpec, Fingerprint, LOSSLESS, PIPELINE, Span, Toolchain, worker_group};
pub use clip::{Clip, Cut, PacketInfo, Ratio, Still};
pub use consent::Consent;
pub use damage::{Damage, DamageCount};
pub use decisions::{ClipScores, ConsentPolicy, Decisions, GateDecision, PhotoScore};
pub use event::{ChunkOutcome, JobEvent, State, Status, StatusChunk};
pub use hdr::{Hdr, Mastering};
pub use id::{Digest, JobId, partition_of};
pub use job::{AUTO, CHUNK_FRAMES, CRF, ENCODERS, Job, PRESETS, Video};
pub use label::{Label, LabelSpec, usual_height};
pub use moment::{Keep, Moment};
pub use person::{FaceOrder, Person, PersonSpec, Who, WhoSpec, usual_distance};
pub use run::{
    Cancellation, CutId, CutRule, Layout, Manifest, OpenMarker, Output, Plan, Run, SliceIndex, Stood, Totals,
};
pub use sealed::{FrameCounts, ResultFooter};
pub use source_type::DigitalSourceType;
pub use swap::{
    ColourMatch, FACE_SIZES, FaceDetector, FaceLandmarks, FaceRegion, Faces, Masks, NetworkId, Restorer, Swap, Swapper,
    Upscaler,
};

use std::collections::BTreeMap;

/// Seconds spent by stage, summed over everything that worked at the same time.
pub type StageSeconds = BTreeMap<String, f64>;

/// The version of every record and object described here.
pub const VERSION: u32 = 1;
