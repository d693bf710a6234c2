//! The chain on tiny networks of the cards' own inputs and outputs.

use std::path::Path;

use super::*;
use crate::frame::{Frame, Pixels};
use crate::vision::catalog::Catalog;
use crate::vision::error::VisionError;
use crate::vision::testing;
use crate::vision::testing::tiny::{self, Gives};

/// A folder with tiny networks, and the catalogue of it.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        testing::init();
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, id: &str, gives: &[Gives], last: Option<(usize, &[f32])>) {
        tiny::write(&Catalog::builtin().unwrap(), id, self.path(), gives, last);
    }

    fn catalog(&self) -> Catalog {
        Catalog::open(self.path()).unwrap()
    }

    /// ArcFace, whose embedding is the same for everybody.
    fn recogniser(&self) {
        let embedding = (0..512).map(|place| if place < 2 { 3.0 + place as f32 } else { 0.0 }).collect();
        self.write("arcface_w600k_r50", &[Gives::Values(embedding)], None);
    }

    fn load(&self, settings: &ChainSettings) -> Result<Chain, VisionError> {
        Chain::load(&self.catalog(), settings, &Execution::default())
    }

    /// The frame before and after its face was changed.
    fn swapped(&self, settings: &ChainSettings) -> Result<(Frame, Frame), VisionError> {
        let before = testing::moving_portrait(0, 480, 270);
        let after = self.changed(settings, &before, 7)?;
        Ok((before, after))
    }

    /// Frame number `number`, which shows `before`, after its face was changed.
    fn changed(&self, settings: &ChainSettings, before: &Frame, number: u64) -> Result<Frame, VisionError> {
        let mut nets = testing::nets();
        let mut chain = self.load(settings)?;
        let lent = chain.lend(&[Source::find(testing::portrait(), &mut nets, None)?])?;
        chain.set_lent(vec![lent]);
        let face = nets.anchor(&before.view())?.remove(0);
        let mut frame = before.clone();
        chain.change(&mut [Scene { number, frame: frame.view_mut(), faces: vec![(&face, 0)] }], 1.0)?;
        Ok(frame)
    }
}

fn settings(swapper: &str) -> ChainSettings {
    let masks = MaskSettings { blur: 0.3, padding: [0.0; 4], hull: false, occluder: None, parser: None };
    let swapper = Some(swapper.to_owned());
    ChainSettings { swapper, face_size: None, landmarks: None, masks, blending: Default::default(), restorer: None }
}

/// Mean luma at the face's middle and in the picture's corner.
fn luma(frame: &Frame) -> (f64, f64) {
    let plane = frame.planes()[0];
    let mean = |x: usize, y: usize| {
        let rows = (y..y + 12).map(|row| plane.row(row)[x..x + 12].iter().map(|&value| f64::from(value)).sum::<f64>());
        rows.sum::<f64>() / 144.0
    };
    (mean(plane.width / 2 - 6, plane.height / 2 - 6), mean(0, 0))
}

/// Mean luma of the picture.
fn mean(frame: &Frame) -> f64 {
    let plane = frame.planes()[0];
    plane.data.iter().map(|&value| f64::from(value)).sum::<f64>() / plane.data.len() as f64
}

/// Samples that differ.
fn changed(before: &Frame, after: &Frame) -> usize {
    let planes = before.planes().into_iter().zip(after.planes());
    planes
        .map(|(a, b)| {
            (0..a.height).map(|row| a.row(row).iter().zip(b.row(row)).filter(|(a, b)| a != b).count()).sum::<usize>()
        })
        .sum()
}

/// Mean of the luma's second differences in the face's middle: how much grain there is.
fn grain(frame: &Frame) -> f64 {
    let plane = frame.planes()[0];
    let (left, top) = (plane.width / 2 - 16, plane.height / 2 - 16);
    let bend = |row: &[u8], x: usize| f64::from(row[x]) - 2.0 * f64::from(row[x + 1]) + f64::from(row[x + 2]);
    let rows = (top..top + 32).map(|y| (left..left + 32).map(|x| bend(plane.row(y), x).abs()).sum::<f64>());
    rows.sum::<f64>() / 1024.0
}

/// A network's face that is grey all over takes on colours, light and grain of the target.
#[test]
fn a_new_face_is_made_to_look_as_the_target_did() {
    let bench = Bench::new();
    bench.recogniser();
    bench.write("hyperswap_1a_256", &[Gives::Everywhere(0.0), Gives::Everywhere(1.0)], None);
    bench.write("gfpgan_1.4", &[Gives::Everywhere(0.0)], None);
    let mut before = testing::moving_portrait(0, 480, 270);
    for (place, sample) in before.planes_mut()[0].data.iter_mut().enumerate() {
        let bits = (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        *sample = sample.saturating_add_signed((bits % 25) as i8 - 12);
    }
    let with = |colour: Option<Colour>, texture: bool, restorer: bool, number: u64| {
        let blending = BlendingSettings { colour, texture };
        let restorer = restorer.then(|| RestorerSettings { id: "gfpgan_1.4".to_owned(), blend: 1.0, weight: 0.5 });
        let settings = ChainSettings { blending, restorer, ..settings("hyperswap_1a_256") };
        bench.changed(&settings, &before, number).unwrap()
    };
    let (old, plain) = (luma(&before), with(None, false, false, 7));
    // Half of full range is 125.5 of limited range.
    assert!((luma(&plain).0 - 125.5).abs() < 1.5 && (old.0 - 125.5).abs() > 20.0, "{old:?}");
    let relit = with(Some(Colour::Relight), false, false, 7);
    assert!((luma(&relit).0 - old.0).abs() < 0.3 * (125.5 - old.0).abs(), "{:?} of {old:?}", luma(&relit));
    // Lab gives a face without contrast the mean of what it hides.
    let matched = with(Some(Colour::Lab), false, false, 7);
    let moved = |frame: &Frame| (mean(frame) - mean(&before)).abs();
    assert!(moved(&matched) < 0.3 * moved(&plain), "{} and {}", moved(&matched), moved(&plain));
    assert_eq!((luma(&relit).1, luma(&matched).1), (old.1, old.1));
    assert!(grain(&before) > 10.0 && grain(&plain) < 1.0, "{} and {}", grain(&before), grain(&plain));
    for restorer in [false, true] {
        let textured = with(None, true, restorer, 7);
        let share = grain(&textured) / grain(&before);
        assert!((0.6..1.5).contains(&share), "{share} of the grain, restorer: {restorer}");
        assert!(textured == with(None, true, restorer, 7), "the same frame is the same again");
        assert!(textured != with(None, true, restorer, 8), "grain does not stand still");
    }
}

/// Every swapper of the list, each with what it takes: a face that is grey all over comes out.
#[test]
fn every_swapper_runs_end_to_end() {
    let bench = Bench::new();
    bench.recogniser();
    let identity: Vec<f32> = (0..512 * 512).map(|place| if place % 513 == 0 { 1.0 } else { 0.0 }).collect();
    for converter in ["simswap", "ghost", "hififace"] {
        bench.write(&format!("arcface_converter_{converter}"), &[Gives::Input("input")], None);
    }
    let catalog = Catalog::builtin().unwrap();
    let swappers: Vec<String> =
        catalog.absent().iter().filter(|card| card.role == Role::Swapper).map(|card| card.id.clone()).collect();
    assert!(swappers.len() >= 12, "{swappers:?}");
    for id in &swappers {
        let card = catalog.card(id).unwrap();
        let Some(crate::vision::contract::Contract::Swapper(contract)) = &card.contract else { panic!("{id}") };
        // 0..=1 or −1..=1: a light grey of 217.
        let grey = (217.0 - contract.face.shift) / contract.face.gain;
        let gives: Vec<Gives> = card
            .outputs
            .iter()
            .map(|output| Gives::Everywhere(if output.name == "mask" { 1.0 } else { grey }))
            .collect();
        bench.write(id, &gives, Some((512, &identity)));
        let (before, after) = bench.swapped(&settings(id)).unwrap_or_else(|error| panic!("{id}: {error}"));
        let ((face, corner), (_, corner_before)) = (luma(&after), luma(&before));
        // 217 of full range is 202 of limited range.
        assert!((face - 202.4).abs() < 1.5, "{id}: luma {face}");
        assert_eq!(corner, corner_before, "{id}");
        let samples = 480 * 270 * 3 / 2;
        assert!(
            (samples / 50..samples * 2 / 3).contains(&changed(&before, &after)),
            "{id}: {}",
            changed(&before, &after)
        );
    }
}

#[test]
fn a_network_that_gives_back_what_it_gets_changes_next_to_nothing() {
    let bench = Bench::new();
    bench.recogniser();
    bench.write("hyperswap_1a_256", &[Gives::Input("target"), Gives::Everywhere(1.0)], None);
    for face_size in [None, Some(256), Some(512), Some(1024)] {
        let (before, after) = bench.swapped(&ChainSettings { face_size, ..settings("hyperswap_1a_256") }).unwrap();
        let worst = before.planes()[0].data.iter().zip(after.planes()[0].data).map(|(a, b)| a.abs_diff(*b)).max();
        let sum: u64 =
            before.planes()[0].data.iter().zip(after.planes()[0].data).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        let mean = sum as f64 / changed(&before, &after).max(1) as f64;
        assert!(mean < 4.0, "{face_size:?}: {mean} on average, {worst:?} at most");
    }
    let error = bench.load(&ChainSettings { face_size: Some(300), ..settings("hyperswap_1a_256") }).err().unwrap();
    assert_eq!(
        error.to_string(),
        "face size is 300 (expected 256, the side at which model hyperswap_1a_256 works, or a multiple of it up to eight)"
    );
}

/// Whether rows go one by one, or several at once into runs that are filled up: the frames that come out are the same.
#[test]
fn faces_and_frames_that_go_together_come_out_as_each_alone() {
    let bench = Bench::new();
    bench.recogniser();
    let mut nets = testing::nets();
    let toml = include_str!("../../../models/hyperswap_1a_256.toml");
    let (toml, mask) = toml.split_at(toml.rfind("[[outputs]]").unwrap());
    assert!(mask.contains("mask"));
    let toml = toml.replace("mask = \"mask\"\n", "");
    let card = |id: &str, rows: &str, batch: &str| {
        let toml = toml.replace("hyperswap_1a_256", id).replace("shape = [1,", &format!("shape = [{rows},"));
        let toml = toml.replacen("role", &format!("{batch}role"), 1);
        let card = super::super::card::Card::parse(id, &toml).unwrap();
        std::fs::write(bench.path().join(format!("{id}.toml")), &toml).unwrap();
        std::fs::write(bench.path().join(&card.file), tiny::network(&card, &[Gives::Input("target")], None)).unwrap();
    };
    card("alone", "\"rows\"", "");
    card("three", "3", "");
    card("filled", "4", "");
    let two = |index: f32| {
        let place = |x: f32| testing::Place { centre: [x, 140.0 + index], scale: 0.8, angle: 0.1 * index };
        testing::portrait_at(&[place(120.0), place(350.0)], 480, 270)
    };
    let mut change = |id: &str, face_size: Option<u32>| {
        let mut chain = bench.load(&ChainSettings { face_size, ..settings(id) }).unwrap();
        let lent = chain.lend(&[Source::find(testing::portrait(), &mut nets, None).unwrap()]).unwrap();
        chain.set_lent(vec![lent.clone(), lent]);
        let mut frames: Vec<Frame> = (0..3).map(|index| two(index as f32)).collect();
        let faces: Vec<Vec<Face>> = frames.iter().map(|frame| nets.anchor(&frame.view()).unwrap()).collect();
        let scene = |(frame, faces)| {
            let (frame, faces): (&mut Frame, &Vec<Face>) = (frame, faces);
            Scene {
                number: 0,
                frame: frame.view_mut(),
                faces: faces.iter().enumerate().map(|(person, face)| (face, person)).collect(),
            }
        };
        let mut scenes: Vec<Scene<'_, '_>> = frames.iter_mut().zip(&faces).map(scene).collect();
        assert!(scenes.iter().all(|scene| scene.faces.len() == 2));
        chain.change(&mut scenes, 0.9).unwrap();
        drop(scenes);
        (chain.batch(), frames)
    };
    for face_size in [None, Some(512)] {
        let (batch, alone) = change("alone", face_size);
        assert_eq!(batch, 1);
        assert!(alone.iter().enumerate().all(|(index, frame)| changed(frame, &two(index as f32)) > 1000));
        for (id, batch) in [("three", 3), ("filled", 4)] {
            let (found, together) = change(id, face_size);
            assert_eq!(found, batch, "{id}");
            let differ = alone.iter().zip(&together).map(|(a, b)| changed(a, b)).sum::<usize>();
            assert_eq!(differ, 0, "{id} at {face_size:?}");
        }
    }
}

#[test]
fn masks_limit_the_new_face() {
    let bench = Bench::new();
    bench.recogniser();
    bench.write("hyperswap_1a_256", &[Gives::Everywhere(0.7), Gives::Everywhere(1.0)], None);
    bench.write("hyperswap_1b_256", &[Gives::Everywhere(0.7), Gives::Everywhere(0.0)], None);
    bench.write("xseg_1", &[Gives::Everywhere(0.0)], None);
    bench.write("xseg_2", &[Gives::Everywhere(1.0)], None);
    // Everything is skin.
    let scores = (0..19 * 512 * 512).map(|place| if place / (512 * 512) == 1 { 5.0 } else { 0.0 }).collect();
    bench.write("bisenet_resnet_34", &[Gives::Values(scores)], None);
    let with = |change: &dyn Fn(&mut MaskSettings)| {
        let mut settings = settings("hyperswap_1a_256");
        change(&mut settings.masks);
        let (before, after) = bench.swapped(&settings).unwrap();
        changed(&before, &after)
    };
    let all = with(&|_| ());
    assert!(all > 1000, "{all}");
    assert_eq!(with(&|masks| masks.occluder = Some("xseg_1".to_owned())), 0);
    assert_eq!(with(&|masks| masks.occluder = Some("xseg_2".to_owned())), all);
    let parser = |regions: Vec<Region>| Some(("bisenet_resnet_34".to_owned(), regions));
    assert_eq!(with(&|masks| masks.parser = parser(vec![Region::Eyes])), 0);
    assert_eq!(with(&|masks| masks.parser = parser(vec![Region::Eyes, Region::Skin])), all);
    let hull = with(&|masks| masks.hull = true);
    assert!((1000..all).contains(&hull), "{hull} of {all}");
    let padded = with(&|masks| masks.padding = [30.0, 0.0, 0.0, 0.0]);
    assert!((1000..all).contains(&padded), "{padded} of {all}");
    let (before, after) = bench.swapped(&settings("hyperswap_1b_256")).unwrap();
    assert_eq!(changed(&before, &after), 0, "its own mask lets nothing through");
}

/// The photo's face fills much of a crop that reaches beyond the head: what is behind the head stays.
#[test]
fn the_background_is_kept_by_the_network_that_knows_people() {
    let bench = Bench::new();
    bench.recogniser();
    bench.write("blendswap_256", &[Gives::Everywhere(1.0)], None);
    let photo = testing::portrait();
    let before = Frame::from_rgb(512, 512, photo, crate::frame::Matrix::Bt709);
    let with = |occluder: Option<&str>| {
        let mut settings = settings("blendswap_256");
        (settings.masks.blur, settings.masks.occluder) = (0.0, occluder.map(str::to_owned));
        bench.changed(&settings, &before, 0).unwrap()
    };
    let share = |after: &Frame, (x, y): (usize, usize)| {
        let (before, after) = (before.planes()[0], after.planes()[0]);
        let rows = (y..y + 10).map(|y| (x..x + 10).filter(|&x| before.row(y)[x] != after.row(y)[x]).count());
        rows.sum::<usize>() as f64 / 100.0
    };
    let (all, kept) = (with(None), with(Some("selfie_segmentation")));
    let (face, behind) = ((217, 120), (285, 142));
    assert!(share(&all, face) > 0.9 && share(&all, behind) > 0.9, "{} {}", share(&all, face), share(&all, behind));
    assert!(share(&kept, face) > 0.9 && share(&kept, behind) == 0.0, "{} {}", share(&kept, face), share(&kept, behind));
}

#[test]
fn every_restorer_runs_end_to_end_also_after_mesh() {
    let bench = Bench::new();
    let catalog = Catalog::builtin().unwrap();
    let restorers: Vec<String> =
        catalog.absent().iter().filter(|card| card.role == Role::Restorer).map(|card| card.id.clone()).collect();
    assert!(restorers.len() >= 8, "{restorers:?}");
    for id in &restorers {
        bench.write(id, &[Gives::Everywhere(0.7)], None);
        let restorer = Some(RestorerSettings { id: id.clone(), blend: 0.5, weight: 0.5 });
        let settings = ChainSettings { swapper: None, restorer, ..settings("") };
        let (before, after) = bench.swapped(&settings).unwrap_or_else(|error| panic!("{id}: {error}"));
        let (old, new) = (luma(&before).0, luma(&after).0);
        // 0.7 of −1..=1 is 216.75, which is 202 of limited range; half of that and half of the old one.
        assert!((new - (old + 202.2) / 2.0).abs() < 2.0, "{id}: {old} became {new}");
        assert_eq!(luma(&before).1, luma(&after).1, "{id}");
    }
}

#[test]
fn networks_that_are_not_as_they_should_be_are_told_and_change_nothing() {
    let bench = Bench::new();
    let error = |settings: &ChainSettings| bench.swapped(settings).map(drop).expect_err("an error").to_string();
    assert!(error(&settings("inswapper_128")).starts_with("model inswapper_128 is not installed"));
    assert!(error(&settings("nobody")).starts_with("model nobody is unknown (expected one of: inswapper_128, "));
    assert_eq!(error(&settings("sface_2021dec")), "model sface_2021dec is a recogniser (expected a swapper)");

    bench.write("hyperswap_1a_256", &[Gives::Everywhere(0.7), Gives::Everywhere(1.0)], None);
    assert!(error(&settings("hyperswap_1a_256")).starts_with("model arcface_w600k_r50 is not installed"));
    bench.recogniser();
    bench.write("hyperswap_1a_256", &[Gives::Everywhere(f32::NAN), Gives::Everywhere(1.0)], None);
    let found = error(&settings("hyperswap_1a_256"));
    assert!(found.starts_with("run model hyperswap_1a_256: output output is NaN at element 0"), "{found}");
    bench.write("hyperswap_1a_256", &[Gives::Everywhere(f32::INFINITY), Gives::Everywhere(1.0)], None);
    assert!(error(&settings("hyperswap_1a_256")).contains("output output is inf"), "of infinity too");

    // The matrix at the end is not as long as the embedding.
    bench.write("inswapper_128", &[Gives::Everywhere(0.5)], Some((2, &[1.0, 0.0, 0.0, 1.0])));
    let found = error(&settings("inswapper_128"));
    assert!(
        found.contains("the last initializer of inswapper_128.onnx is 2x2 (expected the length of its embedding"),
        "{found}"
    );

    // Another network under its name; a file that was cut off.
    let file = bench.path().join("inswapper_128.onnx");
    std::fs::copy(bench.path().join("hyperswap_1a_256.onnx"), &file).unwrap();
    let found = error(&settings("inswapper_128"));
    assert!(found.contains("tensor "), "{found}");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let found = error(&settings("inswapper_128"));
    assert!(found.contains("inswapper_128"), "{found}");

    // Of a version of ONNX that does not exist yet: the last byte of the file.
    bench.write("hyperswap_1a_256", &[Gives::Everywhere(0.7), Gives::Everywhere(1.0)], None);
    let file = bench.path().join("hyperswap_1a_256.onnx");
    let mut newer = std::fs::read(&file).unwrap();
    assert_eq!(newer.last(), Some(&13));
    *newer.last_mut().unwrap() = 99;
    std::fs::write(&file, newer).unwrap();
    let found = error(&settings("hyperswap_1a_256"));
    assert!(found.starts_with("load model hyperswap_1a_256: ") && found.contains("opset"), "{found}");
}

/// Networks of the roles that the tests of swappers, restorers (above), detectors and gates do not go through one by one.
#[test]
fn every_recogniser_and_mask_runs_end_to_end() {
    let bench = Bench::new();
    bench.recogniser();
    let known = Catalog::builtin().unwrap();
    let of = |role: Role| known.absent().iter().filter(move |card| card.role == role).map(|card| card.id.clone());

    let source = Source::find(testing::portrait(), &mut testing::nets(), None).unwrap();
    let recognisers: Vec<String> = of(Role::Recogniser).collect();
    assert!(recognisers.len() >= 3, "{recognisers:?}");
    for id in &recognisers {
        bench.write(id, &[Gives::Everywhere(0.25)], None);
        let model = bench.catalog().of(Role::Recogniser, id).unwrap();
        let mut recogniser = super::super::recogniser::Recogniser::load(&model, &Execution::default()).unwrap();
        assert_eq!(recogniser.of_source(&source).unwrap(), vec![0.25; 512], "{id}");
    }
    bench.recogniser();

    bench.write("hyperswap_1a_256", &[Gives::Everywhere(0.7), Gives::Everywhere(1.0)], None);
    let (before, after) = bench.swapped(&settings("hyperswap_1a_256")).unwrap();
    let all = changed(&before, &after);
    let skin: Vec<f32> = (0..19 * 512 * 512).map(|place| if place / (512 * 512) == 1 { 5.0 } else { 0.0 }).collect();
    let with = |change: &dyn Fn(&mut MaskSettings)| {
        let mut settings = settings("hyperswap_1a_256");
        change(&mut settings.masks);
        let (before, after) = bench.swapped(&settings).unwrap();
        changed(&before, &after)
    };
    for id in of(Role::Occluder) {
        for (seen, expected) in [(1.0, all), (0.0, 0)] {
            bench.write(&id, &[Gives::Everywhere(seen)], None);
            assert_eq!(with(&|masks| masks.occluder = Some(id.clone())), expected, "{id} sees {seen}");
        }
    }
    for id in of(Role::Parser) {
        bench.write(&id, &[Gives::Values(skin.clone())], None);
        for (region, expected) in [(Region::Skin, all), (Region::Lips, 0)] {
            assert_eq!(with(&|masks| masks.parser = Some((id.clone(), vec![region]))), expected, "{id}, {region:?}");
        }
    }
}

#[test]
fn a_chain_names_every_network_that_it_runs() {
    let bench = Bench::new();
    bench.write("simswap_256", &[Gives::Everywhere(0.5)], None);
    let mut settings = settings("simswap_256");
    settings.masks.occluder = Some("xseg_1".to_owned());
    settings.restorer = Some(RestorerSettings { id: "gfpgan_1.4".to_owned(), blend: 0.8, weight: 0.5 });
    let ids = Chain::models(&bench.catalog(), &settings).unwrap();
    assert_eq!(ids, ["simswap_256", "arcface_w600k_r50", "arcface_converter_simswap", "xseg_1", "gfpgan_1.4"]);
}

/// Points that lie where those of the template do, in a crop of the middle of the face, put the new face there.
#[test]
fn other_landmarks_move_the_new_face_or_refuse_it() {
    let bench = Bench::new();
    bench.recogniser();
    bench.write("hyperswap_1a_256", &[Gives::Everywhere(0.7), Gives::Everywhere(1.0)], None);
    // All points in the crop's middle but the five: a face half as large as the crop.
    let five = [[96, 106], [160, 106], [128, 138], [104, 166], [152, 166]];
    let mut points = vec![[128, 128]; 68];
    (36..42).for_each(|point| points[point] = five[0]);
    (42..48).for_each(|point| points[point] = five[1]);
    (points[30], points[48], points[54]) = (five[2], five[3], five[4]);
    let landmarks = |score: f32| {
        let values = points.iter().flat_map(|[x, y]| [*x as f32 / 4.0, *y as f32 / 4.0, 1.0]).collect();
        [Gives::Values(values), Gives::Everywhere(score)]
    };
    let with = |id: &str, least_score: f64| {
        let landmarks = Some(LandmarkSettings { id: id.to_owned(), least_score });
        let (before, after) = bench.swapped(&ChainSettings { landmarks, ..settings("hyperswap_1a_256") }).unwrap();
        changed(&before, &after)
    };
    bench.write("2dfan4", &landmarks(0.8), None);
    let (before, after) = bench.swapped(&settings("hyperswap_1a_256")).unwrap();
    let by_mesh = changed(&before, &after);
    let by_points = with("2dfan4", 0.5);
    assert!((1000..by_mesh * 9 / 10).contains(&by_points), "{by_points} of {by_mesh}");
    assert_eq!(with("2dfan4", 0.9), 0, "it is not sure");
    let all: Vec<f32> = (0..98)
        .flat_map(|point| {
            let at = match point {
                96 => five[0],
                97 => five[1],
                54 => five[2],
                76 => five[3],
                82 => five[4],
                _ => [128, 128],
            };
            at.map(|value: i32| value as f32 / 256.0)
        })
        .collect();
    bench.write("pfld_98", &[Gives::Values(all)], None);
    assert!((500..by_mesh).contains(&with("pfld_98", 0.5)));
}
