//! What networks run on, chosen as a user chooses it. The ONNX Runtime of `make setup` has the processor alone.

mod support;

use support::{Bench, Ran, demo_clip, facemill, portrait};

#[test]
fn providers_that_are_not_here_are_refused_or_fallen_back_from_aloud() {
    let bench = Bench::new();
    let source = demo_clip().display().to_string();
    let clip = bench.clip("clip.mp4", &format!("-i {source} -frames:v 12 -c:v libx264 -preset ultrafast -an"));
    let (photo, clip) = (portrait().display().to_string(), clip.display().to_string());
    let swap = |name: &str, providers: &[&str]| {
        let mut command = bench.swap(&["-s", &photo, "-t", &clip, "-o", name]);
        for order in providers {
            command.args(["--execution-provider", order]);
        }
        Ran::from(&mut command)
    };
    for (exit, expected, providers) in [
        (2, "execution provider \"abacus\" is unknown (expected one of: cpu, cuda, ", &["abacus"][..]),
        (2, "execution providers are given for role \"gate\"", &["cpu", "gate=cuda"]),
        (
            3,
            "no execution provider of coreml can be used here: coreml: this ONNX Runtime was built without it",
            &["coreml"],
        ),
        (3, "no execution provider of migraphx:1/fp16 can be used here", &["cpu", "swapper=migraphx:1/fp16"]),
    ] {
        let ran = swap("refused.mp4", providers);
        assert_eq!(ran.exit, Some(exit), "{providers:?}: {}", ran.told());
        assert!(ran.told().contains(expected), "{providers:?}: {}", ran.told());
        assert!(!bench.path("refused.mp4").exists());
    }
    let fallen_back = swap("out.mp4", &["cann,directml,cpu", "swapper=coreml,cpu"]);
    assert_eq!(fallen_back.done()["frames"], 12, "{}", fallen_back.told());
    for provider in ["cann", "directml", "coreml"] {
        let note =
            format!("note: execution provider {provider} cannot be used here (this ONNX Runtime was built without it)");
        assert!(fallen_back.told().contains(&note), "{}", fallen_back.told());
    }

    let doctor = |provider: &str| {
        let output = facemill().arg("doctor").env("FACEMILL_WORKER__PROVIDER", provider).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (exit, told) = doctor("cann,cpu");
    assert_eq!(exit, Some(0), "{told}");
    assert!(told.contains("cann: cannot be used here: this ONNX Runtime was built without it"), "{told}");
    assert!(told.contains("cpu: works"), "{told}");
    assert_eq!(doctor("cann").0, Some(1), "none is left");
    let (exit, _) = doctor("abacus");
    assert_eq!(exit, Some(2));
}
