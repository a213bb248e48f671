//! What row P11 asks of `kmip-ttlv`: serde types for one AES-GCM Decrypt batch and its answer. The codec's
//! own tests include this file for their second opinion.

use serde::{Deserialize, Serialize};

/// One item of the batch, for either codec.
pub(crate) struct Job {
    pub id: u64,
    pub uid: String,
    pub data: Vec<u8>,
    pub iv: Vec<u8>,
    pub associated_data: Vec<u8>,
    pub tag: Vec<u8>,
}

impl Job {
    /// A batch that looks like the real thing: 32-byte keys under UUIDs, with associated data.
    pub(crate) fn batch(count: u8) -> Vec<Self> {
        let job = |n: u8| Self {
            id: 7 << 32 | u64::from(n),
            uid: format!("5f2b1c5e-6a2e-4a57-9a70-{:012x}", u64::from(n) * 7919),
            data: vec![n ^ 0xa5; 32],
            iv: vec![n; 12],
            associated_data: format!("tenant-{n:02}/volume-0001").into_bytes(),
            tag: vec![n ^ 0x5a; 16],
        };
        (0..count).map(job).collect()
    }
}

macro_rules! fields {
    ($($tag:literal $name:ident($inner:ty);)*) => {
        $(#[derive(Serialize)] #[serde(rename = $tag)] struct $name($inner);)*
    };
}

macro_rules! byte_fields {
    ($($tag:literal $name:ident;)*) => {
        $(#[derive(Serialize)] #[serde(rename = $tag)]
        struct $name(#[serde(with = "serde_bytes")] Vec<u8>);)*
    };
}

fields! {
    "Transparent:0x42006A" Major(i32);
    "Transparent:0x42006B" Minor(i32);
    "Transparent:0x42000E" Continuation(u32);
    "Transparent:0x42000D" BatchCount(i32);
    "Transparent:0x42005C" Operation(u32);
    "Transparent:0x420094" UniqueIdentifier(String);
    "Transparent:0x420011" BlockCipherMode(u32);
    "Transparent:0x420028" Algorithm(u32);
    "Transparent:0x4200CE" TagLength(i32);
}

byte_fields! {
    "Transparent:0x420093" UniqueBatchItemId;
    "Transparent:0x4200C2" Data;
    "Transparent:0x42003D" Iv;
    "Transparent:0x4200FE" AssociatedData;
    "Transparent:0x4200FF" AuthenticationTag;
}

#[derive(Serialize)]
#[serde(rename = "0x420069")]
struct Version(Major, Minor);

#[derive(Serialize)]
#[serde(rename = "0x420077")]
struct Header(Version, Continuation, BatchCount);

#[derive(Serialize)]
#[serde(rename = "0x42002B")]
struct Parameters(BlockCipherMode, Algorithm, TagLength);

#[derive(Serialize)]
#[serde(rename = "0x420079")]
struct Payload(
    UniqueIdentifier,
    Parameters,
    Data,
    Iv,
    AssociatedData,
    AuthenticationTag,
);

#[derive(Serialize)]
#[serde(rename = "0x42000F")]
struct Item(Operation, UniqueBatchItemId, Payload);

/// A KMIP 1.4 Decrypt batch.
#[derive(Serialize)]
#[serde(rename = "0x420078")]
pub(crate) struct Request(Header, Vec<Item>);

impl Request {
    pub(crate) fn new(jobs: &[Job]) -> Self {
        let item = |job: &Job| {
            Item(
                Operation(0x20),
                UniqueBatchItemId(job.id.to_be_bytes().to_vec()),
                Payload(
                    UniqueIdentifier(job.uid.clone()),
                    Parameters(BlockCipherMode(9), Algorithm(3), TagLength(16)),
                    Data(job.data.clone()),
                    Iv(job.iv.clone()),
                    AssociatedData(job.associated_data.clone()),
                    AuthenticationTag(job.tag.clone()),
                ),
            )
        };
        let count = i32::try_from(jobs.len()).unwrap_or(i32::MAX);
        let header = Header(
            Version(Major(1), Minor(4)),
            Continuation(1),
            BatchCount(count),
        );
        Self(header, jobs.iter().map(item).collect())
    }
}

/// The answer to [`Request`].
#[derive(Deserialize)]
#[serde(rename = "0x42007B")]
pub(crate) struct Response {
    pub _header: ResponseHeader,
    pub items: Vec<ResponseItem>,
}

#[derive(Deserialize)]
#[serde(rename = "0x42007A")]
pub(crate) struct ResponseHeader {
    pub _version: ResponseVersion,
    #[serde(rename = "0x420092")]
    pub _time_stamp: i64,
    #[serde(rename = "0x42000D")]
    pub _batch_count: i32,
}

#[derive(Deserialize)]
#[serde(rename = "0x420069")]
pub(crate) struct ResponseVersion {
    #[serde(rename = "0x42006A")]
    pub _major: i32,
    #[serde(rename = "0x42006B")]
    pub _minor: i32,
}

#[derive(Deserialize)]
#[serde(rename = "0x42000F")]
pub(crate) struct ResponseItem {
    pub _operation: ResponseOperation,
    #[serde(rename = "0x420093", with = "serde_bytes")]
    pub id: Vec<u8>,
    pub _status: Status,
    pub payload: ResponsePayload,
}

#[derive(Deserialize)]
#[serde(rename = "0x42005C")]
pub(crate) enum ResponseOperation {
    #[serde(rename = "0x00000020")]
    Decrypt,
}

#[derive(Deserialize)]
#[serde(rename = "0x42007F")]
pub(crate) enum Status {
    #[serde(rename = "0x00000000")]
    Success,
}

#[derive(Deserialize)]
#[serde(rename = "0x42007C")]
pub(crate) struct ResponsePayload {
    #[serde(rename = "0x420094")]
    pub uid: String,
    #[serde(rename = "0x4200C2", with = "serde_bytes")]
    pub data: Vec<u8>,
}
