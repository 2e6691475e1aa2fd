//! What stands for HTTP/3 in a build without it. `config/` refuses such probes before they run.

use super::super::dial::StepContext;
use super::super::failure::{Attempt, failure};
use super::super::http_exchange::{Ask, Whole};
use super::super::record::StepRecord;
use super::super::spec::TlsOptions;
use super::super::target::Target;
use crate::model::probe::FailureReason;

/// Says that this build cannot.
pub(in super::super) async fn fetch(
    _: &Target,
    _: &TlsOptions,
    _: Ask,
    _: StepContext<'_>,
    _: &mut StepRecord,
) -> Attempt<Whole> {
    Err(failure(FailureReason::Local, "this build has no HTTP/3: build with --features http3"))
}
