//! Following one job on topic `status`.

use crate::broker::{BrokerConfig, BrokerError, News, Reader, StartAt};
use crate::contract::{JobId, Status, topics};

use super::SILENCE_LIMIT;

/// News of one job. A run that has ended stays ended, and earlier runs are history: late news of either is passed over.
pub struct Follower {
    job: JobId,
    news: Reader<Status>,
    newest: Option<Status>,
    is_caught_up: bool,
}

/// What a follower sees.
pub enum Seen {
    /// News of the job.
    Status(Box<Status>),
    /// All that was there at the start has been read.
    CaughtUp,
}

impl Follower {
    /// Starts at the beginning of the topic, or with what comes after this has returned.
    pub async fn start(broker: &BrokerConfig, job: &JobId, from: StartAt) -> Result<Self, BrokerError> {
        let news = Reader::start(broker, topics::STATUS, from).await?;
        Ok(Self { job: job.clone(), news, newest: None, is_caught_up: false })
    }

    /// The next news; `None` when there will be none. Cancel-safe.
    ///
    /// # Errors
    /// Fatal ones, and retry: what is there cannot be read to its end.
    pub async fn next(&mut self) -> Result<Option<Seen>, BrokerError> {
        loop {
            let news = match self.is_caught_up {
                true => self.news.next().await,
                false => self.news.next_within(SILENCE_LIMIT).await,
            };
            let status = match news {
                None => return Ok(None),
                Some(Ok(News::CaughtUp)) => {
                    self.is_caught_up = true;
                    return Ok(Some(Seen::CaughtUp));
                }
                Some(Ok(News::Record(delivery))) => delivery.record,
                Some(Err(error)) => return Err(error),
            };
            let Ok(status) = status else { continue };
            if status.job == self.job && is_news(self.newest.as_ref(), &status) {
                self.newest = Some(status.clone());
                return Ok(Some(Seen::Status(Box::new(status))));
            }
        }
    }

    /// The newest status so far.
    pub fn newest(&self) -> Option<&Status> {
        self.newest.as_ref()
    }
}

fn is_news(newest: Option<&Status>, status: &Status) -> bool {
    newest.is_none_or(|newest| {
        status.run > newest.run || status.run == newest.run && (!newest.state.is_final() || status.state.is_final())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::State;

    #[test]
    fn an_end_is_an_end_until_the_next_run() {
        let status = |run, state| Status::new("j".parse().unwrap(), run, state);
        let table = [
            (None, (1, State::Planning), true),
            (Some((1, State::Running)), (1, State::Running), true),
            (Some((1, State::Running)), (1, State::Done), true),
            (Some((1, State::Done)), (1, State::Running), false),
            (Some((1, State::Done)), (1, State::Done), true),
            (Some((1, State::Failed)), (2, State::Planning), true),
            (Some((2, State::Planning)), (1, State::Failed), false),
        ];
        for (newest, (run, state), expected) in table {
            let newest = newest.map(|(run, state)| status(run, state));
            assert_eq!(is_news(newest.as_ref(), &status(run, state)), expected, "{newest:?} {run} {state:?}");
        }
    }
}
