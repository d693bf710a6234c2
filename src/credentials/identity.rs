//! The local identity: for whoever has no certificate, one that is made once and that nobody vouches for.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use super::CredentialsError;

/// What readers show as the issuer.
const ORGANISATION: &str = "Facemill local identity";
/// Files of the folder.
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";
/// First and last year: signatures bear no time-stamp of an authority, and are valid no longer than their certificate is.
const YEARS: (i32, i32) = (2025, 2049);

/// A certificate chain and its key, both as PEM.
pub struct Identity {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
    /// It was made just now.
    pub is_new: bool,
}

/// The identity in `folder`, which is made if it is not there. Several processes may do so at once; one wins.
///
/// # Errors
/// [`CredentialsError::Identity`].
pub fn open(folder: &Path) -> Result<Identity, CredentialsError> {
    let failed = |reason: String| CredentialsError::Identity { folder: folder.to_owned(), reason };
    let is_new = !folder.exists();
    if is_new {
        make(folder).map_err(failed)?;
    }
    let read = |name: &str| fs::read(folder.join(name)).map_err(|error| failed(format!("{name}: {error}")));
    Ok(Identity { certificate: read(CERTIFICATE)?, key: read(KEY)?, is_new })
}

fn make(folder: &Path) -> Result<(), String> {
    let parent = folder.parent().unwrap_or(Path::new("."));
    let text = |error: io::Error| error.to_string();
    fs::create_dir_all(parent).map_err(text)?;
    let unfinished = tempfile::Builder::new().prefix(".identity-").tempdir_in(parent).map_err(text)?;
    let Identity { certificate, key, .. } = generate().map_err(|error| error.to_string())?;
    for (name, content) in [(CERTIFICATE, certificate), (KEY, key)] {
        let private = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished.path().join(name));
        private.and_then(|mut file| file.write_all(&content).and_then(|()| file.sync_all())).map_err(text)?;
    }
    match fs::rename(unfinished.path(), folder) {
        // Another process was quicker.
        Err(_) if folder.join(KEY).is_file() => Ok(()),
        renamed => renamed.map_err(text),
    }
}

/// C2PA wants a certificate that is not its own issuer; the issuer's key is forgotten.
fn generate() -> Result<Identity, rcgen::Error> {
    let key = KeyPair::generate()?;
    let (from, until) = (date_time_ymd(YEARS.0, 1, 1), date_time_ymd(YEARS.1, 12, 31));
    // Tells one machine's from another's.
    let number = hex::encode(&key.public_key_raw()[1..5]);
    let params = |name: String| -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::OrganizationName, ORGANISATION);
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (from, until);
        Ok(params)
    };
    let issuer_key = KeyPair::generate()?;
    let mut root = params(format!("issuer of {number}, not verified"))?;
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root_certificate = root.self_signed(&issuer_key)?;
    let issuer = Issuer::from_params(&root, &issuer_key);
    let mut own = params(format!("{number}, not verified"))?;
    own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    own.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    own.use_authority_key_identifier_extension = true;
    let certificate = own.signed_by(&key, &issuer)?;
    let chain = format!("{}{}", certificate.pem(), root_certificate.pem());
    Ok(Identity { certificate: chain.into_bytes(), key: key.serialize_pem().into_bytes(), is_new: true })
}
