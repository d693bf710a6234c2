//! What outputs say of themselves, whose faces may be used, and what is written down, as a user meets it: `facemill swap`, `verify`, `audit`.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use serde_json::Value;
use support::{Bench, Ran, facemill, fetched, frame_digests, portrait, run};

const CONSENT: &str =
    r#"{"subject":"customer 1042","basis":"consent","reference":"archive/1042.pdf","date":"2026-11-01"}"#;
const SYNTHETIC: &str = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic";

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// `facemill swap` with an identity and a configuration of this test's own.
fn swap(bench: &Bench, settings: &str, arguments: &[&str]) -> Ran {
    fs::write(bench.path("facemill.toml"), settings).unwrap();
    let mut command = bench.swap(arguments);
    Ran::from(command.env("XDG_DATA_HOME", bench.path("home")))
}

/// What `facemill verify --json` says, and its exit code.
fn verify(file: &Path) -> (Value, Option<i32>) {
    let ran = facemill().args(["verify", "--json", text(file)]).output().expect("the program runs");
    let told: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    (told["credentials"].clone(), ran.status.code())
}

/// What the tools of the Content Authenticity Initiative say.
fn verify_by_others(file: &Path, mime: &str) -> Value {
    let library = fetched("c2pa-python-0.38.1/c2pa/__init__.py");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/c2pa.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(library.ancestors().nth(2).unwrap()).arg(file).arg(mime);
    let beside = file.with_extension("c2pa");
    if beside.is_file() {
        command.arg(beside);
    }
    serde_json::from_slice(&run(&mut command)).unwrap()
}

/// The audit of the test's data folder.
fn audit(bench: &Bench, arguments: &[&str]) -> Vec<Value> {
    let mut command = facemill();
    command.args(["audit", "export", "--data-dir", text(&bench.path("data"))]).args(arguments);
    let lines = String::from_utf8(run(&mut command)).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_container_bears_credentials_that_other_tools_accept() {
    let bench = Bench::new();
    let clip = bench.test_clip("clip.mp4", 20, 10);
    let av1 =
        bench.clip("av1.webm", "-f lavfi -i testsrc2=s=128x96:r=25:d=0.4 -c:v libsvtav1 -preset 12 -pix_fmt yuv420p");
    // Noise, so that the middle of each file is its samples.
    let noise = "-f lavfi -i nullsrc=s=256x192,geq=random(1)*255:random(2)*255:random(3)*255 -frames:v 1";
    let still = bench.clip("still.png", noise);
    let moves = bench.clip("moves.gif", "-f lavfi -i nullsrc=s=96x64:r=10:d=0.5,geq=random(1)*255:128:128");
    let table: [(&Path, &str, &str, &str); 12] = [
        (&clip, "mp4", "video/mp4", ""),
        (&clip, "m4v", "video/mp4", ""),
        (&clip, "mov", "video/quicktime", ""),
        (&clip, "mkv", "video/matroska", ""),
        (&av1, "webm", "video/webm", "auto"),
        (&still, "png", "image/png", ""),
        (&still, "jpg", "image/jpeg", ""),
        (&still, "webp", "image/webp", ""),
        (&still, "tiff", "image/tiff", ""),
        (&still, "gif", "image/gif", ""),
        (&still, "avif", "image/avif", ""),
        (&moves, "apng", "image/png", ""),
    ];
    for (target, extension, mime, encoder) in table {
        let output = bench.path(&format!("out-{extension}.{extension}"));
        let mut arguments = vec!["-t", text(target), "-o", text(&output), "--swapper", "none"];
        if !encoder.is_empty() {
            arguments.extend(["--output-video-encoder", encoder]);
        }
        swap(&bench, "", &arguments).done();
        let (told, exit) = verify(&output);
        assert_eq!((told["verdict"].as_str(), exit), (Some("valid"), Some(0)), "{extension}: {told}");
        let is_beside = matches!(extension, "mkv" | "webm" | "apng");
        assert_eq!(told["is_beside"], is_beside, "{extension}");
        assert_eq!(output.with_extension("c2pa").is_file(), is_beside, "{extension}");
        assert_eq!(frame_digests(&output).len(), frame_digests(target).len(), "{extension}");
        let others = verify_by_others(&output, mime);
        assert_eq!(others["state"], "Valid", "{extension}: {others}");
        assert_eq!(others["actions"], serde_json::json!(["c2pa.opened", "c2pa.transcoded"]), "{extension}");
        assert_eq!(others["origins"][0], target.file_name().unwrap().to_str().unwrap(), "{extension}");
        assert_eq!(others["issuer"], "Facemill local identity", "{extension}");

        // One bit of the samples.
        let mut bytes = fs::read(&output).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        fs::write(&output, &bytes).unwrap();
        let (told, exit) = verify(&output);
        assert_eq!((told["verdict"].as_str(), exit), (Some("invalid"), Some(1)), "{extension}: {told}");
        assert_ne!(verify_by_others(&output, mime)["state"], "Valid", "{extension}");
        let said = facemill().args(["verify", text(&output)]).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert!(said.contains("TAMPERED WITH"), "{extension}: {said}");
    }
    let (told, exit) = verify(&clip);
    assert_eq!((told["verdict"].as_str(), exit), (Some("none"), Some(1)));
}

#[test]
fn a_swapped_face_is_called_synthetic_and_its_consent_is_written_down() {
    let bench = Bench::new();
    fs::write(bench.path("consent.json"), CONSENT).unwrap();
    let (portrait, output) = (portrait(), bench.path("out.jpg"));
    let arguments = ["-s", text(&portrait), "-t", text(&portrait), "-o", text(&output), "--consent", "consent.json"];
    swap(&bench, "[ingest]\nconsent = \"required\"\n", &arguments).done();
    let others = verify_by_others(&output, "image/jpeg");
    assert_eq!((&others["state"], &others["kinds"]), (&"Valid".into(), &serde_json::json!([SYNTHETIC])), "{others}");
    let (told, _) = verify(&output);
    let [record] = &audit(&bench, &[])[..] else { panic!("one run, one record") };
    assert_eq!((&record["state"], &record["swapper"]), (&"done".into(), &"mesh".into()), "{record}");
    assert_eq!(record["consent"][0]["subject"], "customer 1042");
    assert_eq!(record["consent"][0]["digest"], told["facemill"]["consent"][0], "{told}");
    assert_eq!(record["models"], told["facemill"]["models"]);
    let digest = |path: &Path| {
        let sum = String::from_utf8(run(Command::new("sha256sum").arg(path))).unwrap();
        sum.split(' ').next().unwrap().to_owned()
    };
    assert_eq!(record["output"]["sha256"], digest(&output));
    assert_eq!(record["target"], digest(&portrait));
    assert_eq!(record["sources"][0], digest(&portrait));

    // A target that says something of itself is the origin of what comes next, with what it says.
    let again = bench.path("again.jpg");
    let arguments = ["-s", text(&portrait), "-t", text(&output), "-o", text(&again)];
    swap(&bench, "[ingest]\nconsent = \"off\"\n", &arguments).done();
    let (told, _) = verify(&again);
    assert_eq!(told["origins"][0]["has_credentials"], true, "{told}");
    assert_eq!(told["origins"][0]["problems"], serde_json::json!([]), "{told}");
    assert_eq!(audit(&bench, &[]).len(), 2);
    assert_eq!(audit(&bench, &["--since", "1h"]).len(), 2);
    assert_eq!(audit(&bench, &["--since", "2100-01-01"]).len(), 0);
}

#[test]
fn without_consent_nothing_is_done_where_it_is_required() {
    let bench = Bench::new();
    let (portrait, output) = (portrait(), bench.path("out.jpg"));
    let required = "[ingest]\nconsent = \"required\"\n";
    let arguments = ["-s", text(&portrait), "-t", text(&portrait), "-o", text(&output)];
    let refused = swap(&bench, required, &arguments);
    assert_eq!(refused.exit, Some(3), "{}", refused.told());
    assert!(refused.told().contains("consent: none"), "{}", refused.told());
    assert!(!output.exists());
    for nothing in ["store/sources", "store/blobs", "store/results", "store/open"] {
        let left = fs::read_dir(bench.path("data").join(nothing)).map(|entries| entries.count()).unwrap_or_default();
        assert!(left == 0 || nothing == "store/open", "{nothing} has {left} entries");
    }
    let [record] = &audit(&bench, &[])[..] else { panic!("a refusal is written down too") };
    assert_eq!((&record["refused"], &record["decisions"]["consent"]), (&true.into(), &"required".into()), "{record}");
    // Where no face is lent, none has to agree.
    let still = bench.clip("still.png", "-f lavfi -i testsrc2=s=64x48 -frames:v 1");
    swap(&bench, required, &["-t", text(&still), "-o", "copy.png", "--swapper", "none"]).done();

    fs::write(bench.path("consent.json"), CONSENT.replace("2026-11-01", "last week")).unwrap();
    let refused = swap(&bench, required, &[&arguments[..], &["--consent", "consent.json"]].concat());
    assert_eq!(refused.exit, Some(3), "{}", refused.told());
    assert!(refused.told().contains("consent.date"), "{}", refused.told());
}

/// An operator's certificate, valid until the given year, and its key.
fn certificate(bench: &Bench, until: i32) {
    let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root_certificate = root.self_signed(&root_key).unwrap();
    let mut own = CertificateParams::new(Vec::new()).unwrap();
    own.distinguished_name = DistinguishedName::new();
    own.distinguished_name.push(DnType::OrganizationName, "Example Factory");
    own.not_after = date_time_ymd(until, 1, 1);
    own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    own.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    own.use_authority_key_identifier_extension = true;
    let signed = own.signed_by(&key, &Issuer::from_params(&root, &root_key)).unwrap();
    fs::write(bench.path("chain.pem"), signed.pem() + &root_certificate.pem()).unwrap();
    fs::write(bench.path("root.pem"), root_certificate.pem()).unwrap();
    fs::write(bench.path("key.pem"), key.serialize_pem()).unwrap();
}

#[test]
fn a_certificate_that_will_not_do_is_found_before_any_work() {
    let bench = Bench::new();
    let still = bench.clip("still.png", "-f lavfi -i testsrc2=s=64x48 -frames:v 1");
    let output = bench.path("out.png");
    let arguments = ["-t", text(&still), "-o", text(&output), "--swapper", "none"];
    let signer = "[credentials]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n";
    certificate(&bench, 2020);
    let expired = swap(&bench, signer, &arguments);
    assert_eq!(expired.exit, Some(2), "{}", expired.told());
    assert!(expired.told().contains("credentials.certificate: the certificate of Example Factory expired on"));
    fs::write(bench.path("chain.pem"), "nothing").unwrap();
    let bad = swap(&bench, signer, &arguments);
    assert_eq!(bad.exit, Some(2), "{}", bad.told());
    let alone = swap(&bench, "[credentials]\nkey = \"key.pem\"\n", &arguments);
    assert_eq!(alone.exit, Some(2), "{}", alone.told());
    assert!(!output.exists() && !bench.path("data").exists(), "nothing has been begun");

    certificate(&bench, 2090);
    swap(&bench, signer, &arguments).done();
    let trusting = facemill().args(["verify", text(&output), "--json", "--trust"]).arg(bench.path("root.pem")).output();
    let told: Value = serde_json::from_slice(&trusting.unwrap().stdout).unwrap();
    assert_eq!(told["credentials"]["verdict"], "trusted", "{told}");
    let doctor = facemill().arg("doctor").current_dir(bench.path("")).output().unwrap();
    let table = String::from_utf8(doctor.stdout).unwrap();
    assert!(table.contains("✓ signer        Example Factory, valid until 2090-01-01"), "{table}");
}

#[test]
fn what_could_not_be_written_down_is_not_done() {
    let bench = Bench::new();
    let still = bench.clip("still.png", "-f lavfi -i testsrc2=s=64x48 -frames:v 1");
    let output = bench.path("out.png");
    // In the way of the audit's file.
    fs::create_dir_all(bench.path("data/audit.jsonl")).unwrap();
    let refused = swap(&bench, "", &["-t", text(&still), "-o", text(&output), "--swapper", "none"]);
    assert_eq!(refused.exit, Some(1), "{}", refused.told());
    assert!(refused.told().contains("the audit cannot be written"), "{}", refused.told());
    assert!(!output.exists() && !bench.path("data/store/jobs").exists(), "nothing has been begun");
}

#[test]
fn credentials_can_be_turned_off_and_pictures_are_the_same_with_and_without() {
    let bench = Bench::new();
    let clip = bench.test_clip("clip.mp4", 30, 10);
    let arguments = ["-t", text(&clip), "-o", "with.mp4", "--swapper", "none"];
    swap(&bench, "", &arguments).done();
    let arguments = ["-t", text(&clip), "-o", "without.mp4", "--swapper", "none"];
    swap(&bench, "[credentials]\nsign = false\n", &arguments).done();
    assert_eq!(verify(&bench.path("without.mp4")).0["verdict"], "none");
    assert_eq!(frame_digests(&bench.path("with.mp4")), frame_digests(&bench.path("without.mp4")));
}
