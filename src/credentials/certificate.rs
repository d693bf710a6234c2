//! The certificate that signatures are made with: whose, how long, for which kind of key.

use c2pa::SigningAlg;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::asn1_rs::Oid;
use x509_parser::pem::Pem;
use x509_parser::public_key::PublicKey;

use super::CredentialsError;

/// Object identifiers of keys' algorithms and curves: RFC 8410, RFC 5480.
const ED25519: &str = "1.3.101.112";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const P521: &str = "1.3.132.0.35";
/// Least length of an RSA key, bits: C2PA's certificate profile.
const RSA_BITS: usize = 2048;
/// What a refusal asks for.
const KEYS: &str = "a certificate of a key on P-256, P-384 or P-521, Ed25519, or RSA of 2048 bits or more";

/// A chain of certificates, the signer's own first.
#[derive(Debug)]
pub struct Certificate {
    /// As PEM.
    pub pem: Vec<u8>,
    /// Each as DER.
    pub chain: Vec<Vec<u8>>,
    /// Whose: organisation and common name.
    pub holder: String,
    /// The algorithm that its key signs with.
    pub algorithm: SigningAlg,
    /// Its last day.
    pub until: String,
    /// Seconds since 1970 between which it is valid.
    valid: (i64, i64),
}

impl Certificate {
    /// Reads a chain.
    ///
    /// # Errors
    /// [`CredentialsError::Setting`] of `credentials.certificate`.
    pub fn parse(pem: Vec<u8>) -> Result<Self, CredentialsError> {
        let chain: Vec<Vec<u8>> = Pem::iter_from_buffer(&pem)
            .map(|block| block.map(|block| block.contents).map_err(|error| refuse(error.to_string(), CHAIN)))
            .collect::<Result<_, _>>()?;
        let own = chain.first().ok_or_else(|| refuse("no certificate in the file".to_owned(), CHAIN))?;
        let (_, own) = x509_parser::parse_x509_certificate(own).map_err(|error| refuse(error.to_string(), CHAIN))?;
        let (from, until) = (own.validity().not_before, own.validity().not_after);
        let certificate = Self {
            holder: holder(&own),
            algorithm: algorithm(&own)?,
            until: until.to_datetime().date().to_string(),
            valid: (from.timestamp(), until.timestamp()),
            chain,
            pem: Vec::new(),
        };
        let certificate = Self { pem, ..certificate };
        certificate.ensure_valid()?;
        Ok(certificate)
    }

    /// Refuses one that has expired or is not valid yet.
    pub fn ensure_valid(&self) -> Result<(), CredentialsError> {
        let (now, (from, until)) = (OffsetDateTime::now_utc().unix_timestamp(), self.valid);
        if now > until {
            return Err(refuse(format!("the certificate of {} expired on {}", self.holder, self.until), NOW));
        }
        if now < from {
            return Err(refuse(format!("the certificate of {} is not valid yet", self.holder), NOW));
        }
        Ok(())
    }
}

/// What refusals ask for.
const CHAIN: &str = "a file of certificates as PEM, the signer's own first, then those of its issuers";
const NOW: &str = "one that is valid now";

pub(super) fn refuse(found: String, expected: &'static str) -> CredentialsError {
    CredentialsError::Setting { setting: "certificate", found, expected }
}

fn holder(certificate: &X509Certificate<'_>) -> String {
    let subject = certificate.subject();
    let organisation = subject.iter_organization().find_map(|part| part.as_str().ok());
    let name = subject.iter_common_name().find_map(|part| part.as_str().ok());
    match (organisation, name) {
        (Some(organisation), Some(name)) => format!("{organisation}, {name}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => subject.to_string(),
    }
}

fn algorithm(certificate: &X509Certificate<'_>) -> Result<SigningAlg, CredentialsError> {
    let info = certificate.public_key();
    if info.algorithm.algorithm.to_id_string() == ED25519 {
        return Ok(SigningAlg::Ed25519);
    }
    let unknown = |what: String| refuse(what, KEYS);
    match info.parsed().map_err(|error| unknown(error.to_string()))? {
        PublicKey::RSA(key) if key.key_size() >= RSA_BITS => Ok(SigningAlg::Ps256),
        PublicKey::RSA(key) => Err(unknown(format!("a key of {} bits", key.key_size()))),
        PublicKey::EC(_) => {
            let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
            match curve.as_ref().map(Oid::to_id_string).as_deref() {
                Some(P256) => Ok(SigningAlg::Es256),
                Some(P384) => Ok(SigningAlg::Es384),
                Some(P521) => Ok(SigningAlg::Es512),
                other => Err(unknown(format!("a key on curve {}", other.unwrap_or("without a name")))),
            }
        }
        _ => Err(unknown(format!("a key of algorithm {}", info.algorithm.algorithm))),
    }
}
