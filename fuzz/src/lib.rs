//! What the fuzz targets run. The ordinary tests run the same over the committed corpus.

#[path = "../../core/tests/frame/harness.rs"]
pub mod harness;
pub mod targets;
pub mod tokio_adapter;
