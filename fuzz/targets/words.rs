//! The fuzz targets about what people and programs say to a switch: its file and its socket. Plain functions, as in
//! [`frames.rs`](frames.rs).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use rigswitch::api::serve;
use rigswitch::config::{Config, Document, Plan};
use rigswitch::switch::Switch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio::time::timeout;

/// A file: refused with a place and a remedy for each problem, or a configuration that survives being printed and read again.
pub(crate) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Config::parse(text, "rig.toml") {
        Ok(config) => {
            let printed = Document::new(&config).to_toml().expect("what came from a file is text");
            let again = Config::parse(&printed, "printed").expect("what is printed can be read");
            assert!(Plan::between(&config, &again).expect("no [switch] differs").is_empty(), "{printed}");
        }
        Err(refused) => assert!(refused.to_string().starts_with("rig.toml:"), "{refused}"),
    }
}

/// A connection: whatever comes over it is answered in HTTP or not at all, and the next client is answered as ever.
pub(crate) fn socket(bytes: &[u8]) {
    thread_local!(static STAGE: Stage = Stage::new());
    STAGE.with(|stage| {
        let answer = stage.say(bytes);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(&answer));
        let good = stage.say(b"GET /v1/workers HTTP/1.0\r\n\r\n");
        assert!(good.starts_with(b"HTTP/1.0 200 OK"), "{}", String::from_utf8_lossy(&good));
    });
}

const RIG: &str = r#"
[[port]]
name = "p0"
memory = true
[[port]]
name = "p1"
memory = true
[[bridge]]
name = "br0"
port = [{ device = "p0" }, { device = "p1" }]
"#;

/// A switch that answers.
struct Stage {
    runtime: Runtime,
    tasks: LocalSet,
    path: std::path::PathBuf,
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let path = std::env::temp_dir().join(format!("rigswitch-fuzz-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let tasks = LocalSet::new();
        let switch = Switch::start(Config::parse(RIG, "rig").unwrap()).unwrap();
        let listener = runtime.block_on(async { UnixListener::bind(&path) }).unwrap();
        tasks.spawn_local(serve(listener, Rc::new(RefCell::new(switch))));
        Self { runtime, tasks, path }
    }

    /// Says it, and answers what comes back until the other end has had enough, or is silent: who is sent events may wait long for one.
    fn say(&self, bytes: &[u8]) -> Vec<u8> {
        const SILENCE: Duration = Duration::from_secs(2);
        self.tasks.block_on(&self.runtime, async {
            let mut stream = UnixStream::connect(&self.path).await.unwrap();
            // A switch that has heard enough may close before all is said.
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            while let Ok(Ok(1..)) = timeout(SILENCE, stream.read_buf(&mut answer)).await {}
            answer
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
