//! SQLite's write-ahead log, read before SQLite reads it (<https://www.sqlite.org/fileformat2.html#walformat>).
//!
//! SQLite takes the first frame with a wrong checksum for the end: a crash left it half written. Here the frames after
//! it are examined too, and a new log can be written that contains everything readable.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

use super::{
    header::{PAGE_BYTES, commit_number, word},
    private,
};

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
const FRAME_BYTES: u64 = FRAME_HEADER_BYTES as u64 + PAGE_BYTES as u64;

/// The magic number tells in which byte order the checksums were computed.
const MAGIC_LITTLE: u32 = 0x377f_0682;
const MAGIC_BIG: u32 = 0x377f_0683;
const VERSION: u32 = 3_007_000;

/// SQLite's checksum: two sums over words, each added to the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct WalChecksum(u32, u32);

impl WalChecksum {
    fn add(self, bytes: &[u8], big_endian: bool) -> Self {
        let Self(mut first, mut second) = self;
        for pair in bytes.chunks_exact(8) {
            let (left, right) = (word(pair, 0), word(pair, 4));
            let (left, right) = if big_endian {
                (left, right)
            } else {
                (left.swap_bytes(), right.swap_bytes())
            };
            first = first.wrapping_add(left).wrapping_add(second);
            second = second.wrapping_add(right).wrapping_add(first);
        }
        Self(first, second)
    }

    fn stored(bytes: &[u8], offset: usize) -> Self {
        Self(word(bytes, offset), word(bytes, offset + 4))
    }
}

/// The fields of a frame, and whether it is valid.
#[derive(Clone, Copy, Debug)]
struct WalFrame {
    page: u32,
    /// Size of the database in pages after its commit; 0 if it is not the last frame of one.
    pages_after: u32,
    /// The commit's number, on page 1 only.
    number: Option<u64>,
    /// Its salt is the log's: it was written since the log last restarted.
    current: bool,
    /// Its checksum follows from the frame before.
    follows: bool,
}

/// Commits as SQLite will find them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WalCommits {
    /// Frames up to the end of the last one.
    pub(super) frames: usize,
    /// Number of the first one, if it has one.
    pub(super) first: Option<u64>,
    /// Number of the last.
    pub(super) last: Option<u64>,
}

/// A log that was read.
#[derive(Debug)]
pub(super) struct WalFile {
    file: File,
    frames: Vec<WalFrame>,
    /// Frames before the first invalid one.
    sound: usize,
}

impl WalFile {
    /// `None` if there is no log or it is empty.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut header = [0; HEADER_BYTES];
        let length = file.metadata()?.len();
        if length < HEADER_BYTES as u64 {
            return Ok(None);
        }
        file.read_exact(&mut header)?;
        let magic = word(&header, 0);
        let big_endian = magic == MAGIC_BIG;
        let before = header.get(..24).unwrap_or_default();
        let computed = WalChecksum::default().add(before, big_endian);
        let good_header = (magic == MAGIC_LITTLE || big_endian)
            && word(&header, 4) == VERSION
            && word(&header, 8) == PAGE_BYTES
            && computed == WalChecksum::stored(&header, 24);

        let count = (length - HEADER_BYTES as u64) / FRAME_BYTES;
        let mut log = Self {
            file,
            frames: Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(1 << 20)),
            sound: 0,
        };
        let salt = if good_header {
            (word(&header, 16), word(&header, 20))
        } else {
            log.find_salt(count, big_endian)?
        };
        let mut buffer = Vec::new();
        // As stored by the frame before, and as computed for it: if there is damage in one place, one of them is right.
        let (mut stored, mut computed) = (WalChecksum::stored(&header, 24), computed);
        let mut unbroken = good_header;
        for number in 0..count {
            log.frame(number, &mut buffer)?;
            let sum = WalChecksum::stored(&buffer, 16);
            let current = salt == (word(&buffer, 8), word(&buffer, 12));
            let expected = frame_sum(stored, &buffer, big_endian);
            let follows = sum == expected || sum == frame_sum(computed, &buffer, big_endian);
            unbroken = unbroken && current && sum == expected;
            if unbroken {
                log.sound += 1;
            }
            let page = word(&buffer, 0);
            let content = buffer.get(FRAME_HEADER_BYTES..).unwrap_or_default();
            log.frames.push(WalFrame {
                page,
                pages_after: word(&buffer, 4),
                number: (page == 1).then(|| commit_number(content)),
                current,
                follows,
            });
            (stored, computed) = (sum, expected);
        }
        Ok(Some(log))
    }

    /// The salt of consecutive frames, if that of the header is not valid.
    fn find_salt(&self, count: u64, big_endian: bool) -> io::Result<(u32, u32)> {
        let mut buffer = Vec::new();
        let mut before = None;
        for number in 0..count {
            self.frame(number, &mut buffer)?;
            let salt = (word(&buffer, 8), word(&buffer, 12));
            let sum = WalChecksum::stored(&buffer, 16);
            if let Some((stored, its_salt)) = before
                && its_salt == salt
                && salt != (0, 0)
                && sum == frame_sum(stored, &buffer, big_endian)
            {
                return Ok(salt);
            }
            before = Some((sum, salt));
        }
        Ok((0, 0))
    }

    fn frame(&self, number: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.resize(FRAME_HEADER_BYTES + PAGE_BYTES as usize, 0);
        self.file
            .read_exact_at(buffer, HEADER_BYTES as u64 + number * FRAME_BYTES)
    }

    /// The commits that SQLite will use.
    pub(super) fn commits(&self) -> WalCommits {
        self.commits_within(self.last_commit(self.sound).unwrap_or(0))
    }

    fn commits_within(&self, end: usize) -> WalCommits {
        let frames = self.frames.get(..end).unwrap_or_default();
        let first_ends = frames.iter().position(|frame| frame.pages_after != 0);
        WalCommits {
            frames: end,
            first: frames
                .iter()
                .take(first_ends.map_or(0, |number| number + 1))
                .find_map(|frame| frame.number),
            last: frames.iter().rev().find_map(|frame| frame.number),
        }
    }

    /// Frames up to the end of the last commit among the first `within`, including damaged commits.
    fn last_commit(&self, within: usize) -> Option<usize> {
        let frames = self.frames.get(..within).unwrap_or_default();
        let last = frames
            .iter()
            .rposition(|frame| frame.current && frame.page != 0 && frame.pages_after != 0)?;
        Some(last + 1)
    }

    /// Whether a commit follows the first invalid frame, and another frame after that commit: then it was synced, so
    /// the log is not just half written at its end. (A commit alone could be: not every page of it had reached the
    /// disk.)
    pub(super) fn goes_on_behind_damage(&self) -> bool {
        self.frames.windows(2).skip(self.sound).any(|pair| {
            matches!(pair, [commit, next]
                if commit.current && commit.pages_after != 0 && next.current && next.follows)
        })
    }

    /// Everything up to the last recognizable commit, whatever is in between.
    pub(super) fn everything(&self) -> WalCommits {
        self.commits_within(self.last_commit(self.frames.len()).unwrap_or(0))
    }

    /// Which pages are in the first `frames`, and in which frame last.
    pub(super) fn pages(&self, frames: usize) -> BTreeMap<u32, usize> {
        let taken = self.frames.iter().take(frames).enumerate();
        taken
            .filter(|(_, frame)| frame.current && frame.page != 0)
            .map(|(number, frame)| (frame.page, number))
            .collect()
    }

    /// Size of the database in pages after the first `frames`.
    pub(super) fn pages_after(&self, frames: usize) -> u32 {
        let last = frames.checked_sub(1).and_then(|last| self.frames.get(last));
        last.map_or(0, |frame| frame.pages_after)
    }

    /// The page in frame `number`.
    pub(super) fn page(&self, number: usize) -> io::Result<Vec<u8>> {
        let mut buffer = Vec::new();
        self.frame(number as u64, &mut buffer)?;
        Ok(buffer.split_off(FRAME_HEADER_BYTES))
    }
}

fn frame_sum(before: WalChecksum, frame: &[u8], big_endian: bool) -> WalChecksum {
    let head = frame.get(..8).unwrap_or_default();
    let page = frame.get(FRAME_HEADER_BYTES..).unwrap_or_default();
    before.add(head, big_endian).add(page, big_endian)
}

/// Writes a log of one commit that SQLite accepts.
pub(super) struct WalWriter {
    out: BufWriter<File>,
    sum: WalChecksum,
    pages_after: u32,
}

impl WalWriter {
    const SALT: [u32; 2] = [1, 2];

    /// A log after which the database has this many pages.
    pub(super) fn create(path: &Path, pages_after: u32) -> io::Result<Self> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        let [first, second] = Self::SALT;
        for value in [MAGIC_BIG, VERSION, PAGE_BYTES, 0, first, second] {
            header.extend(value.to_be_bytes());
        }
        let sum = WalChecksum::default().add(&header, true);
        header.extend([sum.0.to_be_bytes(), sum.1.to_be_bytes()].concat());
        let mut out = BufWriter::new(private::create(path)?);
        out.write_all(&header)?;
        Ok(Self {
            out,
            sum,
            pages_after,
        })
    }

    pub(super) fn add(&mut self, page: u32, content: &[u8], last: bool) -> io::Result<()> {
        let pages_after = if last { self.pages_after } else { 0 };
        let head = [page.to_be_bytes(), pages_after.to_be_bytes()].concat();
        self.sum = self.sum.add(&head, true).add(content, true);
        self.out.write_all(&head)?;
        for value in [Self::SALT, [self.sum.0, self.sum.1]].as_flattened() {
            self.out.write_all(&value.to_be_bytes())?;
        }
        self.out.write_all(content)
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}
