//! Signers and signatures, good and bad, on small files.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};

use super::*;
use crate::contract::{Digest, DigitalSourceType};
use crate::error::{Classify, Kind};

/// An operator's certificate and key as files; `change` makes it unfit.
fn operator(folder: &Path, change: impl FnOnce(&mut CertificateParams)) -> (PathBuf, PathBuf) {
    let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.distinguished_name.push(DnType::OrganizationName, "Trusted Root");
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root_certificate = root.self_signed(&root_key).unwrap();
    let mut own = CertificateParams::new(Vec::new()).unwrap();
    own.distinguished_name.push(DnType::OrganizationName, "Example Factory");
    own.distinguished_name.push(DnType::CommonName, "clips");
    own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    own.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    own.use_authority_key_identifier_extension = true;
    change(&mut own);
    let certificate = own.signed_by(&key, &Issuer::from_params(&root, &root_key)).unwrap();
    let (chain, secret) = (folder.join("chain.pem"), folder.join("key.pem"));
    fs::write(&chain, certificate.pem() + &root_certificate.pem()).unwrap();
    fs::write(folder.join("root.pem"), root_certificate.pem()).unwrap();
    fs::write(&secret, key.serialize_pem()).unwrap();
    (chain, secret)
}

fn producer() -> Code {
    "Example".parse().unwrap()
}

fn local(folder: &Path) -> Credentials {
    Credentials::open(&SignerSettings { keys: Keys::Local, identity: folder.join("identity"), producer: producer() })
        .unwrap()
}

fn with(keys: Keys) -> Result<Credentials, CredentialsError> {
    Credentials::open(&SignerSettings { keys, identity: PathBuf::from("/nowhere"), producer: producer() })
}

fn picture(path: &Path) {
    image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([x as u8 * 3, y as u8 * 5, 90])).save(path).unwrap();
}

fn statement(parent: Option<Parent>) -> Statement<'static> {
    Statement { title: "out", kind: Some(DigitalSourceType::CompositeSynthetic), run: None, parent }
}

fn parent(path: &Path, format: &str) -> Parent {
    let title = path.file_name().unwrap().to_str().unwrap().to_owned();
    Parent { title, path: path.to_owned(), format: format.to_owned(), sha256: Digest::of(b"") }
}

#[test]
fn pictures_bear_what_is_said_of_them_and_a_changed_byte_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let credentials = local(folder.path());
    for format in ["png", "jpg", "webp", "tiff", "gif"] {
        let (target, file) =
            (folder.path().join(format!("target.{format}")), folder.path().join(format!("out.{format}")));
        picture(&target);
        picture(&file);
        let plain = image::open(&file).unwrap();
        let parent = parent(&target, if format == "jpg" { "jpeg" } else { format });
        let signed = credentials.sign(&file, format, &statement(Some(parent))).unwrap();
        assert_eq!(signed.sidecar, None, "{format}");
        assert_eq!(image::open(&file).unwrap(), plain, "{format}: the picture is untouched");
        let report = read(&file, format, None).unwrap();
        assert_eq!((report.verdict, report.problems.len()), (Verdict::Valid, 0), "{format}: {report:?}");
        assert_eq!(report.issuer.as_deref(), Some("Facemill local identity"));
        assert_eq!(report.origins[0].title.as_deref(), Some(format!("target.{format}").as_str()));
        assert!(!report.origins[0].has_credentials);
        let kinds: Vec<_> = report.actions.iter().map(|action| action.action.as_str()).collect();
        assert_eq!(kinds, ["c2pa.opened", "c2pa.edited"], "{format}");

        let mut bytes = fs::read(&file).unwrap();
        // Where each of them has its samples; the credentials lie elsewhere.
        let at = bytes.len() - 40;
        bytes[at] ^= 1;
        fs::write(&file, &bytes).unwrap();
        let report = read(&file, format, None).unwrap();
        assert_eq!(report.verdict, Verdict::Invalid, "{format}");
        assert!(report.problems.iter().any(Problem::is_tampering), "{format}: {:?}", report.problems);
    }
}

#[test]
fn credentials_of_a_target_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let credentials = local(folder.path());
    let (target, file) = (folder.path().join("target.png"), folder.path().join("out.png"));
    picture(&target);
    picture(&file);
    credentials.sign(&target, "png", &statement(None)).unwrap();
    credentials.sign(&file, "png", &statement(Some(parent(&target, "png")))).unwrap();
    let report = read(&file, "png", None).unwrap();
    assert_eq!(report.verdict, Verdict::Valid, "{report:?}");
    assert!(report.origins[0].has_credentials && report.origins[0].problems.is_empty(), "{report:?}");

    // Spoilt ones are kept too, with what is wrong with them: they are the target's, and not ours.
    let mut bytes = fs::read(&target).unwrap();
    let at = bytes.len() - 40;
    bytes[at] ^= 1;
    fs::write(&target, &bytes).unwrap();
    picture(&file);
    credentials.sign(&file, "png", &statement(Some(parent(&target, "png")))).unwrap();
    let report = read(&file, "png", None).unwrap();
    assert!(report.origins[0].problems.iter().any(Problem::is_tampering), "{report:?}");
    assert_eq!(report.verdict, Verdict::Valid, "{report:?}");
}

#[test]
fn what_carries_none_has_them_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.mkv");
    fs::write(&file, vec![7; 100_000]).unwrap();
    assert_eq!(read(&file, "mkv", None).unwrap().verdict, Verdict::None);
    let signed = local(folder.path()).sign(&file, "mkv", &statement(Some(parent(&file, "matroska,webm")))).unwrap();
    assert_eq!(signed.sidecar, Some(folder.path().join("out.c2pa")));
    assert_eq!(fs::read(&file).unwrap(), vec![7; 100_000]);
    let report = read(&file, "mkv", None).unwrap();
    assert!(report.verdict == Verdict::Valid && report.is_beside, "{report:?}");
    fs::write(&file, vec![8; 100_000]).unwrap();
    let report = read(&file, "mkv", None).unwrap();
    assert!(report.problems.iter().any(Problem::is_tampering), "{report:?}");
}

#[test]
fn the_local_identity_is_made_once_and_its_key_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let first = local(folder.path());
    assert!(first.is_local() && first.holder().contains("not verified"), "{}", first.holder());
    assert_eq!(local(folder.path()).holder(), first.holder());
    let mode = fs::metadata(folder.path().join("identity/key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::write(folder.path().join("identity/key.pem"), "spoilt").unwrap();
    let settings = SignerSettings { keys: Keys::Local, identity: folder.path().join("identity"), producer: producer() };
    let error = Credentials::open(&settings).unwrap_err().to_string();
    assert!(error.contains("remove the folder"), "{error}");
}

#[test]
fn an_operators_certificate_is_trusted_by_whoever_trusts_its_issuer() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = operator(folder.path(), |_| {});
    let credentials = with(Keys::File { certificate, key }).unwrap();
    assert_eq!(credentials.holder(), "Example Factory, clips");
    let file = folder.path().join("out.png");
    picture(&file);
    credentials.sign(&file, "png", &statement(None)).unwrap();
    let root = fs::read_to_string(folder.path().join("root.pem")).unwrap();
    assert_eq!(read(&file, "png", None).unwrap().verdict, Verdict::Valid);
    assert_eq!(read(&file, "png", Some(&root)).unwrap().verdict, Verdict::Trusted);
}

#[test]
fn the_key_may_be_behind_a_command() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = operator(folder.path(), |_| {});
    let command: Vec<String> = ["openssl", "dgst", "-sha256", "-sign", key.to_str().unwrap()].map(str::to_owned).into();
    let credentials = with(Keys::Command { certificate: certificate.clone(), command }).unwrap();
    let file = folder.path().join("out.png");
    picture(&file);
    credentials.sign(&file, "png", &statement(None)).unwrap();
    assert_eq!(read(&file, "png", None).unwrap().verdict, Verdict::Valid);

    let error =
        with(Keys::Command { certificate: certificate.clone(), command: vec!["false".to_owned()] }).unwrap_err();
    assert_eq!(error.kind(), Kind::Retry, "{error}");
    // It signs, with another key.
    let other = tempfile::tempdir().unwrap();
    let (_, key) = operator(other.path(), |_| {});
    let command: Vec<String> = ["openssl", "dgst", "-sha256", "-sign", key.to_str().unwrap()].map(str::to_owned).into();
    let error = with(Keys::Command { certificate, command }).unwrap_err().to_string();
    assert!(error.starts_with("credentials.certificate"), "{error}");
}

#[test]
fn what_is_wrong_with_a_certificate_is_found_when_it_is_opened() {
    type Change = fn(&mut CertificateParams);
    let cases: [(&str, Change); 4] = [
        ("expired on 2020-01-02", |own| own.not_after = date_time_ymd(2020, 1, 2)),
        ("not valid yet", |own| own.not_before = date_time_ymd(2090, 1, 1)),
        ("fit for C2PA", |own| own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ("fit for C2PA", |own| own.key_usages = vec![KeyUsagePurpose::KeyAgreement]),
    ];
    for (expected, change) in cases {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = operator(folder.path(), change);
        let error = with(Keys::File { certificate, key }).unwrap_err();
        assert_eq!(error.kind(), Kind::Fatal);
        let error = error.to_string();
        assert!(error.starts_with("credentials.certificate: ") && error.contains(expected), "{expected}: {error}");
    }

    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = operator(folder.path(), |_| {});
    let other = tempfile::tempdir().unwrap();
    let (_, other_key) = operator(other.path(), |_| {});
    let junk = folder.path().join("junk.pem");
    fs::write(&junk, "no certificate").unwrap();
    let missing = folder.path().join("missing.pem");
    for (setting, certificate, key) in [
        ("certificate", &certificate, &other_key),
        ("certificate", &junk, &key),
        ("certificate", &missing, &key),
        ("key", &certificate, &junk),
        ("key", &certificate, &missing),
    ] {
        let keys = Keys::File { certificate: certificate.clone(), key: key.clone() };
        let error = with(keys).unwrap_err().to_string();
        assert!(error.starts_with(&format!("credentials.{setting}: ")), "{error}");
    }
}

#[test]
fn files_that_are_no_files_of_their_format_are_poison() {
    let folder = tempfile::tempdir().unwrap();
    let credentials = local(folder.path());
    for format in ["png", "mp4", "webp", "tiff", "gif", "avif", "jpg"] {
        let file = folder.path().join(format!("junk.{format}"));
        fs::write(&file, b"junk, and not a picture at all").unwrap();
        let error = credentials.sign(&file, format, &statement(None)).unwrap_err();
        assert_eq!(error.kind(), Kind::Poison, "{format}: {error}");
        assert_ne!(read(&file, format, None).unwrap().verdict, Verdict::Valid, "{format}");
        // Nothing is left beside it.
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".signed")), "{left:?}");
    }
}

#[test]
fn the_tools_that_the_tests_use_are_here() {
    assert!(
        Command::new("openssl").arg("version").output().is_ok_and(|ran| ran.status.success()),
        "make setup installs it"
    );
}
