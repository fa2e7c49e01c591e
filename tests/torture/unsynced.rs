//! What a machine that lost its power does to nats-server: the end of a stream, which it
//! had acknowledged and not synced, is gone.
//!
//! A stream of nats-server is a directory with blocks of messages, `msgs/1.blk` and so
//! on, that only grow. A record in one is, in little endian: its length (32 bits, the
//! highest says that there are headers), the sequence (64), a time (64), the length of
//! the subject (16), then subject, headers, message and a checksum.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// Says that a message has headers.
const HAS_HEADERS: u32 = 1 << 31;

/// Everything of a record before the subject.
const HEAD_BYTES: usize = 22;

/// What was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Messages that are gone.
    pub(crate) messages: u64,
    /// The sequence of the last one that is left.
    pub(crate) last_sequence: u64,
}

/// A record of a block: where it begins, and its sequence.
type Record = (usize, u64);

/// Cuts the last messages off a stream, at most so many, and through the first of them:
/// its beginning was written. One message stays. nats-server must not run.
///
/// # Errors
///
/// When the directory is not one of a stream with two messages in its newest block.
pub(crate) fn cut_off(stream: &Path, most: usize) -> anyhow::Result<Lost> {
    let file = newest_block(&stream.join("msgs"))?;
    let block = fs::read(&file)?;
    let records = records(&block);
    ensure!(records.len() >= 2, "{} has no two messages", file.display());
    let left = records.len() - most.min(records.len() - 1);
    let (_, last_sequence) = records[left - 1];
    let (begins, _) = records[left];
    let ends = records.get(left + 1).map_or(block.len(), |(next, _)| *next);
    let block = OpenOptions::new().write(true).open(&file)?;
    block.set_len(begins.midpoint(ends) as u64)?;
    Ok(Lost { messages: (records.len() - left) as u64, last_sequence })
}

/// The block with the highest number.
fn newest_block(messages: &Path) -> anyhow::Result<PathBuf> {
    let mut blocks = Vec::new();
    for entry in fs::read_dir(messages).with_context(|| messages.display().to_string())? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let (Some(number), true) = (number, path.extension().is_some_and(|is| is == "blk")) {
            blocks.push((number, path));
        }
    }
    let newest = blocks.into_iter().max().context("no block")?;
    Ok(newest.1)
}

/// The whole records of a block. A half one at its end is what a killed nats-server was
/// writing.
fn records(block: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut begins = 0;
    while let Some((length, sequence)) = head(&block[begins..])
        && length <= block.len() - begins
    {
        records.push((begins, sequence));
        begins += length;
    }
    records
}

/// The length of a record, and its sequence.
fn head(record: &[u8]) -> Option<(usize, u64)> {
    let (length, rest) = record.get(..HEAD_BYTES)?.split_first_chunk()?;
    let (sequence, _) = rest.split_first_chunk()?;
    let length = (u32::from_le_bytes(*length) & !HAS_HEADERS) as usize;
    (length >= HEAD_BYTES).then_some((length, u64::from_le_bytes(*sequence)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record with a body of so many bytes.
    fn record(sequence: u64, body: usize) -> Vec<u8> {
        let length = u32::try_from(HEAD_BYTES + body).expect("short") | HAS_HEADERS;
        let mut record = length.to_le_bytes().to_vec();
        record.extend(sequence.to_le_bytes());
        record.resize(HEAD_BYTES + body, b'x');
        record
    }

    fn stream(blocks: &[(&str, &[u8])]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        let messages = directory.path().join("msgs");
        fs::create_dir(&messages).expect("made");
        for (name, block) in blocks {
            fs::write(messages.join(name), block).expect("written");
        }
        directory
    }

    #[test]
    fn the_newest_block_loses_its_end_in_the_middle_of_a_record() {
        let newest = [record(5, 10), record(6, 20), record(7, 30)].concat();
        let old = [record(3, 10), record(4, 20)].concat();
        let blocks: [(&str, &[u8]); 4] =
            [("9.blk", &old), ("10.blk", &newest), ("10.idx", b"x"), ("11.fss", b"x")];
        let stream = stream(&blocks);
        let lost = cut_off(stream.path(), 2).expect("cut off");
        assert_eq!(lost, Lost { messages: 2, last_sequence: 5 });
        let block = fs::read(stream.path().join("msgs/10.blk")).expect("read");
        assert_eq!(block, newest[..record(5, 10).len() + usize::midpoint(HEAD_BYTES, 20)]);
        assert_eq!(fs::read(stream.path().join("msgs/9.blk")).expect("read"), old);
        // What is left has one message and a half.
        assert!(cut_off(stream.path(), 1).is_err());
    }

    #[test]
    fn one_message_stays() {
        let block = [record(1, 10), record(2, 10), record(3, 10)].concat();
        let lost = cut_off(stream(&[("1.blk", &block)]).path(), 60).expect("cut off");
        assert_eq!(lost, Lost { messages: 2, last_sequence: 1 });
        assert!(cut_off(stream(&[]).path(), 1).is_err());
    }
}
