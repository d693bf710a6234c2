//! U: no offset is committed before what it stands for is durable, and none goes back.
//!
//! Offsets are read first and records after them: what a committed offset stands for must be there by then. A thread of its own does so
//! again and again while the universe lives, so that nothing else has to wait for the broker's answers.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use facemill::contract::{ChunkOutcome, ChunkRecord, Fingerprint, Job, JobEvent, JobId, keys, topics};

use crate::faults::tape::{Entry, Offsets, Records, Tape};

/// How often offsets are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a last look may take: a broker that has just come back needs a while, and is asked patiently.
const LAST_LOOK_LIMIT: Duration = Duration::from_secs(120);

/// What the groups have committed.
#[derive(Debug, Default)]
struct Commits {
    jobs: Offsets,
    /// By the workers' group.
    chunks: BTreeMap<String, Offsets>,
    completions: Offsets,
}

/// What is in the store.
trait Durable {
    fn manifest(&self, job: &JobId, run: u32) -> bool;
    fn run(&self, job: &JobId, run: u32) -> bool;
    fn result(&self, fingerprint: &Fingerprint) -> bool;
}

/// A store as a folder.
struct Folder(PathBuf);

impl Durable for Folder {
    fn manifest(&self, job: &JobId, run: u32) -> bool {
        self.0.join(keys::manifest(job, run)).exists()
    }

    fn run(&self, job: &JobId, run: u32) -> bool {
        self.0.join(keys::run(job, run)).exists()
    }

    fn result(&self, fingerprint: &Fingerprint) -> bool {
        self.0.join(keys::result(fingerprint)).exists()
    }
}

/// What is asked of the thread.
enum Request {
    /// A look that begins after the request, and all that was found until then.
    Found(Sender<Vec<String>>),
    /// From now on offsets may go back, or may not any more. Answered when that is known.
    MayGoBack(bool, Sender<()>),
}

/// The thread; ends when dropped.
pub struct CommitWatch {
    ask: Option<Sender<Request>>,
    watching: Option<JoinHandle<()>>,
}

impl CommitWatch {
    /// Starts watching the groups of a universe.
    pub fn start(brokers: &str, prefix: &str, store: PathBuf) -> Result<Self> {
        let mut tape = Tape::start(brokers, prefix)?;
        let (ask, requests) = channel();
        let watching = std::thread::spawn(move || watch(&mut tape, &Folder(store), &requests));
        Ok(Self { ask: Some(ask), watching: Some(watching) })
    }

    /// What has been committed too early, or back, since this was last asked, looked at once more now.
    pub fn found(&self) -> Result<Vec<String>> {
        let (answer, found) = channel();
        self.ask(Request::Found(answer))?;
        found.recv_timeout(LAST_LOOK_LIMIT).context("committed offsets could not be read")
    }

    /// From now on offsets may go back, or, with `false`, may not any more; those committed until then are no measure.
    pub fn may_go_back(&self, may: bool) -> Result<()> {
        let (answer, known) = channel();
        self.ask(Request::MayGoBack(may, answer))?;
        known.recv_timeout(LAST_LOOK_LIMIT).context("the watch of commits does not answer")
    }

    fn ask(&self, request: Request) -> Result<()> {
        let asked = self.ask.as_ref().map(|ask| ask.send(request));
        asked.context("the watch is running")?.map_err(|_| anyhow!("the watch of commits has ended"))
    }
}

impl Drop for CommitWatch {
    fn drop(&mut self) {
        drop(self.ask.take());
        if let Some(watching) = self.watching.take() {
            // A panic there has been told already.
            let _ = watching.join();
        }
    }
}

fn watch(tape: &mut Tape, store: &Folder, requests: &Receiver<Request>) {
    let mut good = Commits::default();
    let mut may_go_back = false;
    let mut found = Vec::new();
    let mut waiting: Option<Sender<Vec<String>>> = None;
    loop {
        // A broker that is away cannot tell; whoever asks waits until it can.
        if let Ok(committed) = read(tape) {
            found.extend(early(&tape.records, &good, &committed, store));
            if !may_go_back {
                found.extend(gone_back(&good, &committed));
            }
            good = committed;
            if let Some(answer) = waiting.take() {
                // Nobody waits for it any more: then it is told next time.
                found = answer.send(found).err().map(|unsent| unsent.0).unwrap_or_default();
            }
        }
        match requests.recv_timeout(LOOK_EVERY) {
            Ok(Request::Found(answer)) => waiting = Some(answer),
            Ok(Request::MayGoBack(may, known)) => {
                may_go_back = may;
                good = Commits::default();
                // Whoever has asked may have given up.
                let _ = known.send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The groups of the workers, by what the chunks say: one of each version.
pub fn workers(records: &Records) -> BTreeSet<String> {
    records.chunks.iter().filter_map(|entry| Some(entry.value.as_ref()?.group.clone())).collect()
}

fn read(tape: &mut Tape) -> Result<Commits> {
    tape.assign_new()?;
    let mut chunks = BTreeMap::new();
    for group in workers(&tape.records) {
        let committed = tape.committed(&group, topics::CHUNKS)?;
        chunks.insert(group, committed);
    }
    let committed = Commits {
        jobs: tape.committed(topics::INGEST_GROUP, topics::JOBS)?,
        chunks,
        completions: tape.committed(topics::ASSEMBLE_GROUP, topics::COMPLETIONS)?,
    };
    for topic in [topics::JOBS, topics::CHUNKS, topics::COMPLETIONS] {
        tape.catch_up(topic)?;
    }
    Ok(committed)
}

/// Records below `committed`, without those below `good`.
fn newly<'a, T>(
    entries: &'a [Entry<T>],
    good: &'a Offsets,
    committed: &'a Offsets,
) -> impl Iterator<Item = (&'a Entry<T>, &'a T)> {
    let position = |offsets: &Offsets, partition: i32| offsets.get(&partition).copied().unwrap_or(0);
    entries.iter().filter_map(move |entry| {
        let range = position(good, entry.partition)..position(committed, entry.partition);
        range.contains(&entry.offset).then_some(())?;
        Some((entry, entry.value.as_ref()?))
    })
}

fn early(records: &Records, good: &Commits, committed: &Commits, store: &dyn Durable) -> Vec<String> {
    let mut found = Vec::new();
    let settled: HashSet<(&JobId, u32, u32)> =
        records.settled().map(|(job, run, index, _)| (job, run, index)).collect();
    let nothing = Offsets::new();
    for (group, committed) in &committed.chunks {
        let good = good.chunks.get(group).unwrap_or(&nothing);
        // Every group passes over what is another's.
        for (entry, chunk) in newly(&records.chunks, good, committed).filter(|(_, chunk)| chunk.group == *group) {
            let is_settled =
                settled.contains(&(&chunk.job, chunk.run, chunk.index)) || store.manifest(&chunk.job, chunk.run);
            if !is_settled {
                let (offset, partition, index) = (entry.offset, entry.partition, chunk.index);
                let job = &chunk.job;
                found.push(format!("U: chunks {partition}/{offset} committed, {job} chunk {index} not settled"));
            }
        }
    }
    for (entry, job) in newly(&records.jobs, &good.jobs, &committed.jobs) {
        if !is_published(records, job, store) {
            let (offset, partition) = (entry.offset, entry.partition);
            found.push(format!("U: jobs {partition}/{offset} committed, {} not published whole", job.job));
        }
    }
    for (entry, event) in newly(&records.completions, &good.completions, &committed.completions) {
        if !is_counted(event, store) {
            let (offset, partition) = (entry.offset, entry.partition);
            found.push(format!("U: completions {partition}/{offset} committed, nothing durable for {event:?}"));
        }
    }
    found
}

/// Offsets that are behind where they were: a member that had lost its partitions has committed over their new owner, and what was
/// finished comes again.
fn gone_back(good: &Commits, committed: &Commits) -> Vec<String> {
    let nothing = Offsets::new();
    let of_group = |group: &String| committed.chunks.get(group).unwrap_or(&nothing);
    let chunks = good.chunks.iter().map(|(group, offsets)| (format!("chunks of {group}"), offsets, of_group(group)));
    let others = [
        (topics::JOBS.to_owned(), &good.jobs, &committed.jobs),
        (topics::COMPLETIONS.to_owned(), &good.completions, &committed.completions),
    ];
    let mut found = Vec::new();
    for (topic, before, now) in chunks.chain(others) {
        for (partition, was) in before {
            let is = now.get(partition).copied().unwrap_or(0);
            if is < *was {
                found.push(format!("U: {topic} {partition} went back from {was} to {is}"));
            }
        }
    }
    found
}

/// Every chunk of some run is on its topic, or the job has ended or is refused.
fn is_published(records: &Records, job: &Job, store: &dyn Durable) -> bool {
    let of_job = || records.chunks.iter().filter_map(|entry| entry.value.as_ref()).filter(|chunk| chunk.job == job.job);
    let indices: HashSet<u32> = of_job().map(|chunk: &ChunkRecord| chunk.index).collect();
    let is_whole = of_job().next().is_some_and(|chunk| indices.len() == chunk.of as usize);
    let is_refused = || {
        let events = records.completions.iter().filter_map(|entry| entry.value.as_ref());
        events.into_iter().any(|event| matches!(event, JobEvent::Refused { job: refused, .. } if *refused == job.job))
    };
    is_whole || store.manifest(&job.job, 1) || is_refused()
}

/// What the event says can be found in the store without it.
fn is_counted(event: &JobEvent, store: &dyn Durable) -> bool {
    match event {
        JobEvent::Accepted { job, run } => store.run(job, *run) || store.manifest(job, *run),
        JobEvent::Refused { job, run, .. } => store.manifest(job, *run),
        JobEvent::Chunk { job, run, fingerprint, outcome: ChunkOutcome::Done { .. }, .. } => {
            store.result(fingerprint) || store.manifest(job, *run)
        }
        JobEvent::Chunk { job, run, outcome: ChunkOutcome::Failed { .. }, .. } => store.manifest(job, *run),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use facemill::contract::{Digest, FrameCounts, StageSeconds};

    struct Store {
        ended: bool,
        accepted: bool,
        has_results: bool,
    }

    const EMPTY: Store = Store { ended: false, accepted: false, has_results: false };

    impl Durable for Store {
        fn manifest(&self, _: &JobId, _: u32) -> bool {
            self.ended
        }
        fn run(&self, _: &JobId, _: u32) -> bool {
            self.accepted
        }
        fn result(&self, _: &Fingerprint) -> bool {
            self.has_results
        }
    }

    fn entry<T>(offset: i64, value: T) -> Entry<T> {
        Entry { partition: 0, offset, value: Some(value) }
    }

    const GROUP: &str = "workers-1";

    fn chunk(index: u32) -> ChunkRecord {
        let digest = Digest::of(b"").to_string();
        let spec = serde_json::json!({
            "slice": digest, "span": { "start": 0, "end": 1, "lo": 0, "hi": 1 }, "clip_frames": 1, "first_pts": 0, "last_pts": 0,
            "time_base": { "num": 1, "den": 1 }, "frame_rate": { "num": 1, "den": 1 }, "portraits": [], "reference": null,
            "swap": {}, "video": {}, "toolchain": { "pipeline": 1, "encoder": "", "provider": "", "models": {} },
        });
        let record = serde_json::json!({
            "v": 1, "job": "j", "run": 1, "index": index, "of": 2, "clip": digest, "cut": "c", "spec": spec,
            "group": GROUP,
        });
        serde_json::from_value(record).unwrap()
    }

    fn settled(index: u32) -> JobEvent {
        let outcome = ChunkOutcome::Done {
            reused: false,
            bytes: 1,
            counts: FrameCounts::default(),
            seconds: StageSeconds::new(),
        };
        JobEvent::Chunk { job: "j".parse().unwrap(), run: 1, index, fingerprint: chunk(0).spec.fingerprint(), outcome }
    }

    fn at(offset: i64) -> Offsets {
        Offsets::from([(0, offset)])
    }

    #[test]
    fn a_chunk_is_committed_after_its_completion() {
        let records = Records {
            chunks: vec![entry(0, chunk(0)), entry(1, chunk(1))],
            completions: vec![entry(0, settled(0))],
            ..Records::default()
        };
        let look = |chunks: i64, good: i64, store: &Store| {
            let of_group = |offset| Commits { chunks: [(GROUP.to_owned(), at(offset))].into(), ..Commits::default() };
            early(&records, &of_group(good), &of_group(chunks), store).len()
        };
        assert_eq!(look(1, 0, &EMPTY), 0);
        assert_eq!(look(2, 0, &EMPTY), 1);
        assert_eq!(look(2, 2, &EMPTY), 0, "looked at before");
        assert_eq!(look(2, 0, &Store { ended: true, ..EMPTY }), 0);
        let of_others = Commits { chunks: [("workers-2".to_owned(), at(2))].into(), ..Commits::default() };
        assert!(early(&records, &Commits::default(), &of_others, &EMPTY).is_empty(), "passed over by another version");
    }

    #[test]
    fn offsets_never_go_back() {
        let commits = |chunks: &[(i32, i64)], jobs: i64| {
            let offsets: Offsets = chunks.iter().copied().collect();
            Commits { chunks: [(GROUP.to_owned(), offsets)].into(), jobs: at(jobs), ..Commits::default() }
        };
        let look = |chunks: &[(i32, i64)], jobs: i64| gone_back(&commits(&[(0, 3), (1, 5)], 2), &commits(chunks, jobs));
        assert!(look(&[(0, 3), (1, 5)], 2).is_empty());
        assert!(look(&[(0, 4), (1, 5), (2, 1)], 3).is_empty());
        assert_eq!(look(&[(0, 3), (1, 4)], 2), ["U: chunks of workers-1 1 went back from 5 to 4"]);
        assert_eq!(look(&[(0, 3)], 1).len(), 2, "a partition without an offset begins at the beginning");
        assert_eq!(gone_back(&commits(&[(0, 3)], 2), &Commits::default()).len(), 2);
        assert!(gone_back(&Commits::default(), &commits(&[(0, 3)], 2)).is_empty());
    }

    #[test]
    fn a_completion_is_committed_when_it_can_be_found_without_it() {
        let records = Records { completions: vec![entry(0, settled(0))], ..Records::default() };
        let committed = Commits { completions: at(1), ..Commits::default() };
        assert_eq!(early(&records, &Commits::default(), &committed, &EMPTY).len(), 1);
        assert_eq!(early(&records, &Commits::default(), &committed, &Store { has_results: true, ..EMPTY }).len(), 0);
    }

    #[test]
    fn a_job_is_committed_when_all_of_it_is_published() {
        let job: Job = serde_json::from_str(
            r#"{"job":"j","sources":["s3://f/1.jpg"],"target":"s3://f/t.mp4","output":"s3://f/o.mp4"}"#,
        )
        .unwrap();
        let committed = Commits { jobs: at(1), ..Commits::default() };
        let mut records = Records { jobs: vec![entry(0, job)], chunks: vec![entry(0, chunk(0))], ..Records::default() };
        assert_eq!(early(&records, &Commits::default(), &committed, &EMPTY).len(), 1);
        records.chunks.push(entry(1, chunk(1)));
        assert_eq!(early(&records, &Commits::default(), &committed, &EMPTY).len(), 0);
    }
}
