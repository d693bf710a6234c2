//! Topic `status` as a role hears it: every change of every job, from now on.

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::broker::{News, Reader, StartAt};
use crate::contract::{Status, topics};

use super::{Site, SiteError};

/// Follows the topic for as long as it lives.
pub struct Following {
    follower: JoinHandle<()>,
    /// Cancelled when the topic can no longer be followed.
    lost: CancellationToken,
}

impl Site {
    /// Calls `each` with every status that is published after this has returned.
    pub async fn follow_status(&self, mut each: impl FnMut(Status) + Send + 'static) -> Result<Following, SiteError> {
        let mut news = Reader::<Status>::start(&self.broker, topics::STATUS, StartAt::End).await?;
        let lost = CancellationToken::new();
        let ended = lost.clone().drop_guard();
        let follower = tokio::spawn(async move {
            let _ended = ended;
            while let Some(next) = news.next().await {
                match next {
                    Ok(News::Record(delivery)) => delivery.record.into_iter().for_each(&mut each),
                    Ok(News::CaughtUp) => {}
                    Err(error) => return warn!(%error, "status can no longer be followed"),
                }
            }
        });
        Ok(Following { follower, lost })
    }
}

impl Following {
    /// Waits until the topic can no longer be followed. Cancel-safe.
    pub async fn lost(&self) -> SiteError {
        self.lost.cancelled().await;
        SiteError::Work("topic status can no longer be followed".to_owned())
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.follower.abort();
    }
}
