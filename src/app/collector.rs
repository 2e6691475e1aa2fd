//! What leaves for the user's collector: the exporter of probe runs and the daemon's own spans, both
//! only when one is configured.

use super::daemon::{Addresses, StartError};
use crate::base::shutdown::Shutdown;
use crate::config::{OtlpExport, OtlpProtocol};
use crate::export::{self, Exporter, Protocol, SelfSpans, forwards_to_self};
use crate::telemetry::Telemetry;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::time::Duration;

/// Limit of one attempt to send.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What is left at the end is sent within this.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);

/// The ways out. Empty without a collector.
#[derive(Debug, Default)]
pub struct Collector {
    /// Takes probe runs.
    pub probes: Option<Exporter>,
    /// Takes what the daemon does.
    pub own_spans: SelfSpans,
    provider: Option<SdkTracerProvider>,
}

impl Collector {
    /// Starts what the settings ask for; `shutdown` ends the probes' half.
    ///
    /// # Errors
    /// When the collector is this daemon, or its address, headers or certificates cannot be used.
    pub fn start(
        settings: Option<&OtlpExport>,
        addresses: Addresses,
        telemetry: &Telemetry,
        shutdown: &Shutdown,
    ) -> Result<Self, StartError> {
        let Some(settings) = settings else { return Ok(Self::default()) };
        let own = [addresses.page, addresses.otlp_grpc, addresses.otlp_http];
        if forwards_to_self(&settings.endpoint, &own) {
            return Err(format!(
                "export.otlp.endpoint {} is radiosonde itself: name your collector",
                settings.endpoint
            )
            .into());
        }
        let config = export::Config {
            endpoint: settings.endpoint.clone(),
            protocol: match settings.protocol {
                OtlpProtocol::Grpc => Protocol::Grpc,
                OtlpProtocol::HttpProtobuf => Protocol::HttpProtobuf,
            },
            headers: settings.headers.clone(),
            timeout: TIMEOUT,
        };
        let probes = settings
            .probes
            .then(|| Exporter::start(&config, telemetry.clone(), shutdown))
            .transpose()?;
        let provider = settings.own.then(|| export::tracer_provider(&config)).transpose()?;
        let own_spans = provider.as_ref().map(SelfSpans::new).unwrap_or_default();
        Ok(Self { probes, own_spans, provider })
    }

    /// Sends the last spans of the daemon; bounded.
    pub async fn end(provider: Option<SdkTracerProvider>) {
        if let Some(provider) = provider {
            export::shut_down(provider, FLUSH_WITHIN).await;
        }
    }

    /// The pipeline of the daemon's own spans, for [`Collector::end`].
    pub fn take_provider(&mut self) -> Option<SdkTracerProvider> {
        self.provider.take()
    }
}
