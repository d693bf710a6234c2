//! Who signs: the operator's certificate with a key in a file or behind a command, or the local identity.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use c2pa::{BoxedSigner, SigningAlg, create_signer};

use super::certificate::{Certificate, refuse};
use super::command::Program;
use super::error::CredentialsError;
use super::identity;
use crate::marks::Code;

/// Bytes of a signature with all that goes with it but certificates, at most.
const RESERVE: usize = 2_048;

/// With what outputs are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerSettings {
    /// Whose key.
    pub keys: Keys,
    /// The folder of the local identity, which is made there if it is needed.
    pub identity: PathBuf,
    /// Who is named as the producer in labels.
    pub producer: Code,
}

/// Whose key signs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// The local identity's.
    #[default]
    Local,
    /// The operator's, in a file.
    File {
        /// PEM: the signer's certificate, then those of its issuers.
        certificate: PathBuf,
        /// PEM, PKCS #8.
        key: PathBuf,
    },
    /// The operator's, where only a command reaches it.
    Command {
        /// As above.
        certificate: PathBuf,
        /// The program and its arguments: takes what is to be signed at its standard input, gives the signature at its standard output.
        command: Vec<String>,
    },
}

/// An opened signer.
pub struct Signer {
    pub certificate: Certificate,
    pub is_local: bool,
    /// A local identity that was made just now.
    pub is_new: bool,
    hand: Hand,
}

/// One signing: several go on at once.
pub struct Signing<'a> {
    signer: &'a Signer,
    /// Why the program gave no signature: the library passes on words only.
    failed: Mutex<Option<CredentialsError>>,
}

enum Hand {
    Key(BoxedSigner),
    Program(Program),
}

impl Signer {
    /// Reads certificate and key; nothing is signed yet.
    ///
    /// # Errors
    /// [`CredentialsError::Setting`], [`CredentialsError::Identity`].
    pub fn open(settings: &SignerSettings) -> Result<Self, CredentialsError> {
        let with_key = |pem: Vec<u8>, key: &[u8]| {
            let certificate = Certificate::parse(pem)?;
            let signer = create_signer::from_keys(&certificate.pem, key, certificate.algorithm, None);
            let signer = signer.map_err(|error| CredentialsError::Setting {
                setting: "key",
                found: error.to_string(),
                expected: "the certificate's private key as PEM (PKCS #8), without a password",
            })?;
            Ok::<_, CredentialsError>((certificate, Hand::Key(signer)))
        };
        let mut is_new = false;
        let (certificate, hand) = match &settings.keys {
            Keys::Local => {
                let identity = identity::open(&settings.identity)?;
                is_new = identity.is_new;
                with_key(identity.certificate, &identity.key).map_err(|error| CredentialsError::Identity {
                    folder: settings.identity.clone(),
                    reason: error.to_string(),
                })?
            }
            Keys::File { certificate, key } => with_key(read("certificate", certificate)?, &read("key", key)?)?,
            Keys::Command { certificate, command } => {
                (Certificate::parse(read("certificate", certificate)?)?, Hand::Program(Program::new(command.clone())))
            }
        };
        Ok(Self { certificate, is_local: settings.keys == Keys::Local, is_new, hand })
    }

    /// The trial has shown that signatures made with these do not verify.
    pub fn unfit(&self, found: String) -> CredentialsError {
        refuse(
            found,
            "a certificate fit for C2PA (not its own issuer; for digital signatures, e-mail protection or document signing), and its key",
        )
    }

    /// Begins to sign a file.
    pub fn signing(&self) -> Signing<'_> {
        Signing { signer: self, failed: Mutex::default() }
    }
}

impl Signing<'_> {
    /// What a failure of the library means for a file of this format.
    pub fn failure(&self, format: &str, error: c2pa::Error) -> CredentialsError {
        if let Some(ours) = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return ours;
        }
        match error {
            error @ (c2pa::Error::CertificateProfileError(_)
            | c2pa::Error::RawSignerError(_)
            | c2pa::Error::CoseSignature
            | c2pa::Error::CoseInvalidCert) => self.signer.unfit(error.to_string()),
            // What ends too early, or is not what it says, is the file's fault.
            c2pa::Error::IoError(error)
                if !matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) =>
            {
                CredentialsError::File { action: "sign", path: PathBuf::from(format), source: error }
            }
            error => CredentialsError::Asset { format: format.to_owned(), reason: error.to_string() },
        }
    }
}

impl c2pa::Signer for Signing<'_> {
    fn sign(&self, data: &[u8]) -> c2pa::Result<Vec<u8>> {
        match &self.signer.hand {
            Hand::Key(signer) => signer.sign(data),
            Hand::Program(program) => program.sign(data, self.alg()).map_err(|error| {
                let words = error.to_string();
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                c2pa::Error::OtherError(words.into())
            }),
        }
    }

    fn alg(&self) -> SigningAlg {
        self.signer.certificate.algorithm
    }

    fn certs(&self) -> c2pa::Result<Vec<Vec<u8>>> {
        Ok(self.signer.certificate.chain.clone())
    }

    fn reserve_size(&self) -> usize {
        RESERVE + self.signer.certificate.chain.iter().map(Vec::len).sum::<usize>()
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, CredentialsError> {
    fs::read(path).map_err(|error| CredentialsError::Setting {
        setting,
        found: format!("{} ({error})", path.display()),
        expected: "a file that can be read",
    })
}
