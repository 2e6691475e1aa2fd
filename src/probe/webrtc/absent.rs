//! What stands for WebRTC in a build without it. `config/` refuses such probes before they run.

use super::super::dial::StepContext;
use super::super::failure::{Attempt, failure};
use super::super::record::StepRecord;
use super::super::stream::OpenStream;
use super::WebRtcStep;
use crate::model::probe::FailureReason;

/// Says that this build cannot.
pub(in super::super) async fn open(
    _: &WebRtcStep,
    _: &str,
    _: StepContext<'_>,
    _: &mut StepRecord,
) -> Attempt<OpenStream> {
    Err(failure(FailureReason::Local, "this build has no WebRTC: build with --features webrtc"))
}
