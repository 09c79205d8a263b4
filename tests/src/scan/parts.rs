//! The files of ClickHouse's parts: a row of compressed blocks.
//!
//! A block is a checksum (16 bytes), a method (`0x82` LZ4, `0x02` none), the length of method, lengths and data together (u32, little-endian), the length
//! of the data when unpacked (u32), and the data. Source: `CompressedReadBufferBase.cpp` of ClickHouse.

const CHECKSUM: usize = 16;
const HEADER: usize = 9;

/// What is in `file`, if it is such a row of blocks to its end.
pub(super) fn unpacked(file: &[u8]) -> Option<Vec<u8>> {
    let mut rest = file;
    let mut content = Vec::new();
    while !rest.is_empty() {
        let header: &[u8; HEADER] = rest.get(CHECKSUM..)?.first_chunk()?;
        let number = |at: usize| Some(u32::from_le_bytes(*header.get(at..)?.first_chunk()?) as usize);
        let (length, length_unpacked) = (number(1)?, number(5)?);
        let data = rest.get(CHECKSUM + HEADER..CHECKSUM + length)?;
        match header[0] {
            0x82 => content.extend(lz4_flex::block::decompress(data, length_unpacked).ok()?),
            0x02 => content.extend(data),
            _ => return None,
        }
        rest = &rest[CHECKSUM + length..];
    }
    Some(content)
}
