//! Real sockets through a network: what arrives is what was sent, and both ends learn of the end.

use super::super::{Shaped, ShapedUdp};
use super::*;
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

/// Both ends of a connection on loopback.
pub(super) async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (ours, (theirs, _)) = (ours.expect("connected"), theirs.expect("accepted"));
    ours.set_nodelay(true).expect("a fresh socket");
    theirs.set_nodelay(true).expect("a fresh socket");
    (ours, theirs)
}

/// A network that loses and delays a lot, but is fast.
fn nasty() -> Network {
    let mut network = named("wifi+handover+bursty");
    network.profile.loss_ppm = 20_000;
    (network.profile.down_bits, network.profile.up_bits) = (200_000_000, 200_000_000);
    network
}

/// Guarantees that a stream arrives whole and in order in both directions, whatever is lost, and
/// that it ends.
#[tokio::test]
async fn a_stream_arrives_whole() {
    let clock = Clock::system();
    let (ours, mut theirs) = pair().await;
    let mut ours = Shaped::new(ours, path(&nasty(), 9, &clock));
    let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let echo = tokio::spawn(async move {
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.expect("whole");
        theirs.write_all(&got).await.expect("written");
    });
    let exchange = async {
        ours.write_all(&sent).await.expect("written");
        ours.shutdown().await.expect("ended");
        let mut got = Vec::new();
        ours.read_to_end(&mut got).await.expect("whole");
        got
    };
    let got = timeout(SOON, exchange).await.expect("in time");
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    echo.await.expect("echoed");
}

/// Guarantees that what was written arrives although the connection was dropped at once.
#[tokio::test]
async fn what_was_written_arrives_after_the_drop() {
    let clock = Clock::system();
    let (ours, mut theirs) = pair().await;
    let mut ours = Shaped::new(ours, path(&named("lte"), 1, &clock));
    ours.write_all(b"goodbye").await.expect("taken");
    drop(ours);
    let mut got = Vec::new();
    let read = timeout(SOON, theirs.read_to_end(&mut got)).await.expect("in time");
    read.expect("a clean end");
    assert_eq!(got, b"goodbye");
}

/// Guarantees that a reset is told, half a round trip later, and that writing fails from then on.
#[tokio::test]
async fn a_reset_is_told() {
    let clock = Clock::system();
    let (ours, theirs) = pair().await;
    let network = steady(Duration::from_millis(40), 1_000_000);
    let mut ours = Shaped::new(ours, path(&network, 1, &clock));
    let began = clock.monotonic();
    socket2::SockRef::from(&theirs).set_linger(Some(Duration::ZERO)).expect("an open socket");
    drop(theirs);
    let error = timeout(SOON, ours.read_u8()).await.expect("in time").expect_err("reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(clock.monotonic().since(began) >= Duration::from_millis(15));
    let refused = async {
        while ours.write_all(b"x").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, refused).await.expect("writing ends");
}

/// Guarantees that a peer that does not read holds the writer up, instead of filling memory.
#[tokio::test]
async fn what_is_in_flight_is_bounded() {
    let clock = Clock::system();
    let (ours, _theirs) = pair().await;
    let network = steady(Duration::from_secs(10), 8_000_000_000);
    let mut ours = Shaped::new(ours, path(&network, 1, &clock));
    let mut taken = 0;
    let part = vec![0; 1 << 20];
    while let Ok(written) = timeout(Duration::from_millis(300), ours.write(&part)).await {
        taken += written.expect("taken");
        assert!(taken < 64 << 20, "it is never full");
    }
    assert!(taken >= 3 << 20, "{taken}");
}

/// Guarantees that datagrams arrive whole and late, that some are lost, and that the same seed loses
/// the same.
#[tokio::test]
async fn datagrams_are_delayed_and_lost() {
    let clock = Clock::system();
    let echo = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = echo.local_addr().expect("bound");
    let server = tokio::spawn(async move {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = echo.recv_from(&mut buffer).await {
            drop(echo.send_to(&buffer[..length], from).await);
        }
    });
    let mut network = steady(Duration::from_millis(30), 100_000_000);
    network.profile.loss_ppm = 200_000;
    let mut lists = Vec::new();
    for _ in 0..2 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        socket.connect(address).await.expect("connected");
        let mut shaped = ShapedUdp::new(socket, path(&network, 3, &clock));
        let began = clock.monotonic();
        for number in 0..50_u8 {
            shaped.send(&[number; 40]).await.expect("sent");
        }
        let mut got = Vec::new();
        let mut buffer = [0; 64];
        while let Ok(length) = timeout(Duration::from_secs(1), shaped.recv(&mut buffer)).await {
            assert_eq!(length.expect("received"), 40);
            assert!(clock.monotonic().since(began) >= Duration::from_millis(28));
            got.push(buffer[0]);
        }
        lists.push(got);
    }
    assert!((15..50).contains(&lists[0].len()), "{lists:?}");
    assert_eq!(lists[0], lists[1]);
    server.abort();
}
