//! Peers on TCP: the ways in which a cache pod can answer, or not.

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub struct Peer {
    pub address: SocketAddrV4,
    heard: Arc<Mutex<Vec<String>>>,
    /// Kept open, or its address would be given to somebody else.
    _held: Vec<Box<dyn std::any::Any + Send>>,
}

#[derive(Clone)]
enum Manner {
    Bytes(Vec<u8>, bool),
    Silent,
    Close,
    Reset,
}

impl Peer {
    pub async fn http(status: u16, body: &str) -> Self {
        Self::http_on("127.0.0.1:0", status, body).await
    }

    pub async fn http_on(at: &str, status: u16, body: &str) -> Self {
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        Self::listening(at, Manner::Bytes(answer.into_bytes(), true)).await
    }

    pub async fn answering(bytes: &[u8]) -> Self {
        Self::listening("127.0.0.1:0", Manner::Bytes(bytes.into(), false)).await
    }

    pub async fn answering_on(at: &str, bytes: &[u8]) -> Self {
        Self::listening(at, Manner::Bytes(bytes.into(), false)).await
    }

    pub async fn silent() -> Self {
        Self::silent_on("127.0.0.1:0").await
    }

    pub async fn silent_on(at: &str) -> Self {
        Self::listening(at, Manner::Silent).await
    }

    pub async fn closing() -> Self {
        Self::listening("127.0.0.1:0", Manner::Close).await
    }

    pub async fn closing_on(at: &str) -> Self {
        Self::listening(at, Manner::Close).await
    }

    pub async fn resetting_on(at: &str) -> Self {
        Self::listening(at, Manner::Reset).await
    }

    /// Bound, but not listening.
    pub fn refusing() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = v4(socket.local_addr().unwrap());
        Self {
            address,
            heard: Arc::default(),
            _held: vec![Box::new(socket)],
        }
    }

    pub async fn full() -> Self {
        Self::full_on("127.0.0.1:0").await
    }

    /// An accept queue with no room: the kernel drops further SYNs.
    pub async fn full_on(at: &str) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(at.parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = v4(listener.local_addr().unwrap());
        let mut held: Vec<Box<dyn std::any::Any + Send>> = vec![Box::new(listener)];
        for _ in 0..8 {
            let connect = TcpStream::connect(address);
            if let Ok(Ok(stream)) =
                tokio::time::timeout(std::time::Duration::from_millis(200), connect).await
            {
                held.push(Box::new(stream));
            }
        }
        Self {
            address,
            heard: Arc::default(),
            _held: held,
        }
    }

    async fn listening(at: &str, manner: Manner) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = v4(listener.local_addr().unwrap());
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, manner.clone(), Arc::clone(&log)));
            }
        });
        Self {
            address,
            heard,
            _held: Vec::new(),
        }
    }

    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, manner: Manner, heard: Arc<Mutex<Vec<String>>>) {
    let mut buffer = [0u8; 4096];
    let Ok(count) = stream.read(&mut buffer).await else {
        return;
    };
    let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
    heard.lock().unwrap().push(text);
    match manner {
        Manner::Bytes(bytes, close) => {
            let _ = stream.write_all(&bytes).await;
            if !close {
                let _ = stream.read(&mut buffer).await;
            }
        }
        Manner::Silent => {
            let _ = stream.read(&mut buffer).await;
        }
        Manner::Close => {}
        Manner::Reset => {
            let _ = socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
        }
    }
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => panic!("IPv4 was asked for"),
    }
}
