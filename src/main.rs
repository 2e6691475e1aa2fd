//! The binary: chooses between the daemon's command line and the demo world.

use futures::FutureExt;
use radiosonde::app::cli::{block_on, complain, end_on_signal};
use radiosonde::app::daemon;
use radiosonde::app::reload::Source;
use radiosonde::base::clock::Clock;
use radiosonde::base::error::Chain;
use radiosonde::base::shutdown::Shutdown;
use radiosonde::config;
use radiosonde::demo::{
    BoxError, DEFAULT_ADDRESS, Launch, Narrator, SECURE_ADDRESS, Settings, Started, World,
};
use radiosonde::ingest::redact;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let servers = [DEFAULT_ADDRESS, SECURE_ADDRESS]
        .map(|address| address.parse().expect("the address is a constant of ours"));
    radiosonde::app::main(demo, servers)
}

fn demo(lasts: Option<Duration>) -> ExitCode {
    block_on(async move {
        let stop = Shutdown::new();
        drop(tokio::spawn(end_on_signal(stop.clone())));
        let clock = Clock::system();
        let narrator = Narrator::new(Box::new(anstream::stdout()), clock.clone());
        let settings = Settings { lasts, ..Settings::default() };
        let outcome = match World::build(settings, narrator, clock).await {
            Ok(world) => world.run(start_daemon, &stop).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&Chain(&error).to_string(), 1),
        }
    })
}

/// Starts a daemon on the embedded files, in a folder that goes with it.
async fn start_daemon(launch: Launch) -> Result<Started, BoxError> {
    let files: Vec<(&str, &str)> =
        launch.files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let loaded = config::load_embedded(&files, &|key| redact::is_kept(key, &[]));
    let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    let mut settings = loaded.settings.ok_or(problems.join("\n"))?;
    launch.adapt(settings.slos.iter_mut().map(Arc::make_mut), settings.receivers.iter_mut());
    launch.region_attribute.clone_into(&mut settings.phones.region_attribute);
    settings.phones.routes.extend(launch.routes.iter().map(|route| (*route).to_owned()));
    let folder = std::env::temp_dir().join(format!("radiosonde-demo-{}", std::process::id()));
    settings.daemon.data.clone_from(&folder);
    let again = settings.clone();
    let load = Arc::new(move || config::Loaded {
        settings: Some(again.clone()),
        problems: Vec::new(),
        warnings: Vec::new(),
    });
    let source = Source { load, folders: Vec::new() };
    let (tell, told) = tokio::sync::oneshot::channel();
    let shutdown = launch.shutdown.clone();
    let task = tokio::spawn(async move {
        let clock = Clock::system();
        let outcome = daemon::run(settings, source, clock, shutdown, |addresses| {
            // Nobody waits any more when the demo ended meanwhile.
            let _ = tell.send(addresses);
        });
        let outcome = outcome.await;
        drop(radiosonde::store::data_dir::remove(&folder));
        outcome
    });
    match told.await {
        Ok(addresses) => Ok(Started {
            page: format!("http://{}", addresses.page),
            otlp_http: format!("http://{}", addresses.otlp_http),
            ended: async move { task.await? }.boxed(),
        }),
        Err(_) => Err(task.await?.err().unwrap_or_else(|| "the daemon ended at once".into())),
    }
}
