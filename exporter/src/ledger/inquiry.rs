//! Questions to the books: how checks went before and after an instant.

use std::time::Duration;

use pnwatch_core::gate::Compared;
use pnwatch_core::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::owner::Unserved;

/// Questions that may wait.
const QUEUE: usize = 16;
/// How long a question may wait for its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// One question.
#[derive(Debug)]
pub struct Inquiry {
    /// The instant that parts before from after.
    pub baseline: Timestamp,
    /// Whom to tell.
    pub answer: oneshot::Sender<Vec<Compared>>,
}

/// Who asks the keeper. Cheap to clone; every call is cancel-safe.
#[derive(Debug, Clone)]
pub struct Inquiries(mpsc::Sender<Inquiry>);

impl Inquiries {
    /// Who asks, and what the keeper's task reads.
    pub fn new() -> (Self, mpsc::Receiver<Inquiry>) {
        let (sender, inquiries) = mpsc::channel(QUEUE);
        (Self(sender), inquiries)
    }

    /// Checks of every account before and after `baseline`.
    pub async fn compared(&self, baseline: Timestamp) -> Result<Vec<Compared>, Unserved> {
        let (answer, answered) = oneshot::channel();
        let ask = async {
            let inquiry = Inquiry { baseline, answer };
            let sent = self.0.send(inquiry).await;
            sent.map_err(|_| Unserved::Stopping)?;
            answered.await.map_err(|_| Unserved::Stopping)
        };
        match tokio::time::timeout(PATIENCE, ask).await {
            Ok(answered) => answered,
            Err(_) => Err(Unserved::Overloaded),
        }
    }
}
