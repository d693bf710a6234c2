//! Content Credentials (C2PA): what an output says of itself, signed. The only user of the `c2pa` crate.
//!
//! An output is signed after it is made and before it is put in its place. MP4, MOV and the pictures carry their credentials; of other formats
//! (Matroska, WebM, animated PNG) they lie beside the file, in one of the same name that ends with `.c2pa`, as other C2PA tools expect.

mod certificate;
mod command;
mod error;
mod identity;
mod read;
mod signer;
mod statement;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use c2pa::{Builder, Context, Ingredient, Reader};
use serde_json::json;
use tracing::warn;

pub use error::CredentialsError;
pub use read::{Action, Origin, Problem, Report, Verdict, read};
pub use signer::{Keys, SignerSettings};
pub use statement::{Parent, Statement};

use crate::contract::Run;
use crate::marks::{Aigc, Code, Marks};
use error::file_error;
use signer::Signer;

/// Above this credentials are made with temporary files and not in memory, MB.
const IN_MEMORY_MB: usize = 16;
/// The extension of credentials that lie beside their file.
pub const SIDECAR: &str = "c2pa";
/// The name under which a manifest knows the clip that it was made from.
const PARENT: &str = "target";

/// With whose signature outputs are signed. Cheap to clone.
#[derive(Clone)]
pub struct Credentials {
    signer: Arc<Signer>,
    producer: Code,
}

/// A file that was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The credentials of a format that cannot carry them, for a file beside it.
    pub sidecar: Option<PathBuf>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credentials").field("holder", &self.holder()).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Opens the signer and tries it: a certificate that is not valid now, or not fit, or not the key's, is found here.
    ///
    /// # Errors
    /// Fatal: [`CredentialsError::Setting`] and the like, naming what is wrong. Retry: the external signer did not answer.
    pub fn open(settings: &SignerSettings) -> Result<Self, CredentialsError> {
        let credentials = Self { signer: Arc::new(Signer::open(settings)?), producer: settings.producer.clone() };
        credentials.try_out()?;
        Ok(credentials)
    }

    /// Who signs: the holder of the certificate, as readers show it.
    pub fn holder(&self) -> &str {
        &self.signer.certificate.holder
    }

    /// Whether it is an identity of this program's own making, which nobody vouches for.
    pub fn is_local(&self) -> bool {
        self.signer.is_local
    }

    /// Whether that was made just now.
    pub fn is_new(&self) -> bool {
        self.signer.is_new
    }

    /// Until when the certificate is valid: a date.
    pub fn valid_until(&self) -> &str {
        &self.signer.certificate.until
    }

    /// What the output of a run says of itself where nobody knows C2PA; none if nothing of it is synthetic. Written before it is signed.
    pub fn marks(&self, run: &Run) -> Option<Marks> {
        let produce_id = format!("{}-{}", run.job.job, run.run);
        let aigc = Aigc {
            producer: self.producer.clone(),
            produce_id: produce_id.parse().expect("a job's id and a number are letters, digits and dashes"),
            propagator: None,
            propagate_id: None,
        };
        Some(Marks { digital_source_type: run.digital_source_type?, aigc: Some(aigc) })
    }

    /// Says `statement` of a file, in place, or beside it if its format (an extension or MIME type) carries no credentials. Reads and
    /// writes the file once more; needs as much space again. Blocks.
    ///
    /// # Errors
    /// Poison: the file cannot bear them. Retry: the external signer did not answer. Fatal: the certificate has expired, or scratch space.
    pub fn sign(&self, file: &Path, format: &str, statement: &Statement<'_>) -> Result<Signed, CredentialsError> {
        self.signer.certificate.ensure_valid()?;
        let copy = file.with_extension("signed");
        let manifest = self.sign_copy(file, &copy, (format, statement)).inspect_err(|_| {
            // If it stays, it goes with the folder.
            let _ = fs::remove_file(&copy);
        })?;
        if carries(format) {
            fs::rename(&copy, file).map_err(|error| file_error("rename to", file, error))?;
            return Ok(Signed { sidecar: None });
        }
        fs::remove_file(&copy).map_err(|error| file_error("remove", &copy, error))?;
        let sidecar = sidecar_of(file);
        fs::write(&sidecar, manifest).map_err(|error| file_error("write", &sidecar, error))?;
        Ok(Signed { sidecar: Some(sidecar) })
    }

    /// Writes the file with its credentials, if its format carries them; returns these.
    fn sign_copy(
        &self,
        file: &Path,
        copy: &Path,
        (format, statement): (&str, &Statement<'_>),
    ) -> Result<Vec<u8>, CredentialsError> {
        let signing = self.signer.signing();
        let failed = |error: c2pa::Error| signing.failure(format, error);
        let mut builder = builder(statement).map_err(failed)?;
        builder.set_no_embed(!carries(format));
        let mut source = File::open(file).map_err(|error| file_error("open", file, error))?;
        let signed = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(copy);
        let mut signed = signed.map_err(|error| file_error("create", copy, error))?;
        // The file holds what came with its target: what it does to the library must not end the assembler, now and with each that follows.
        let signed = panic::catch_unwind(AssertUnwindSafe(|| builder.sign(&signing, format, &mut source, &mut signed)));
        let broken =
            |_| CredentialsError::Asset { format: format.to_owned(), reason: "the library breaks on it".to_owned() };
        signed.map_err(broken)?.map_err(failed)
    }

    /// Signs a tiny picture and reads it back.
    fn try_out(&self) -> Result<(), CredentialsError> {
        let folder =
            tempfile::tempdir().map_err(|error| file_error("create", Path::new("a temporary folder"), error))?;
        let path = folder.path().join("trial.png");
        let picture = image::RgbImage::from_pixel(1, 1, image::Rgb([0, 0, 0]));
        picture.save(&path).map_err(|error| file_error("write", &path, std::io::Error::other(error)))?;
        self.sign(&path, "png", &Statement::trial())?;
        let report = read(&path, "png", None)?;
        match report.problems.first() {
            None if report.verdict != Verdict::Invalid && report.verdict != Verdict::None => Ok(()),
            problem => {
                let found = problem.map_or_else(|| "a signature that does not verify".to_owned(), Problem::to_string);
                Err(self.signer.unfit(found))
            }
        }
    }
}

/// Whether a format, by extension or MIME type, carries credentials in itself.
pub fn carries(format: &str) -> bool {
    let format = match format.to_ascii_lowercase().as_str() {
        // The library does not know it by this name.
        "m4v" => "mp4".to_owned(),
        known => known.to_owned(),
    };
    let mime = c2pa::format_from_path(format!("file.{format}")).unwrap_or(format);
    Reader::supported_mime_types().contains(&mime)
}

/// Where the credentials of a file lie that cannot carry them: beside it.
pub fn sidecar_of(file: &Path) -> PathBuf {
    file.with_extension(SIDECAR)
}

/// A manifest with what is said, and the clip that the output was made from with its own credentials, if it has some that can be read.
fn builder(statement: &Statement<'_>) -> Result<Builder, c2pa::Error> {
    let begin = || {
        let context = context().map_err(|error| c2pa::Error::OtherError(error.to_string().into()))?;
        Builder::from_context(context).with_definition(statement.definition())
    };
    let Some(parent) = &statement.parent else { return begin() };
    let mime = parent.mime();
    let description = json!({ "title": parent.title, "format": mime, "relationship": "parentOf", "label": PARENT });
    if carries(mime)
        && let Ok(mut file) = File::open(&parent.path)
    {
        // It comes from anywhere: what it does to the library must not end the assembler.
        let read = panic::catch_unwind(AssertUnwindSafe(|| {
            let mut builder = begin()?;
            builder.add_ingredient_from_stream(description.to_string(), mime, &mut file)?;
            Ok::<_, c2pa::Error>(builder)
        }));
        match read {
            Ok(Ok(builder)) => return Ok(builder),
            Ok(Err(error)) => {
                warn!(target = parent.title, %error, "its own credentials cannot be read, and are not kept")
            }
            Err(_) => warn!(target = parent.title, "its own credentials cannot be read, and are not kept"),
        }
    }
    let mut ingredient = Ingredient::new_v2(parent.title.as_str(), mime);
    ingredient.set_is_parent().set_label(PARENT);
    let mut builder = begin()?;
    builder.add_ingredient(ingredient);
    Ok(builder)
}

/// The version of the library.
pub fn library_version() -> &'static str {
    c2pa::VERSION
}

/// How this program uses the library: in little memory, and without the network.
fn context() -> Result<Context, CredentialsError> {
    let settings = json!({
        "core": { "backing_store_memory_threshold_in_mb": IN_MEMORY_MB },
        "verify": { "remote_manifest_fetch": false, "ocsp_fetch": false },
    });
    Context::new().with_settings(settings).map_err(|error| CredentialsError::Library(error.to_string()))
}
