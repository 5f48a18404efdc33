//! A name server.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SOA};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

use super::Start;

/// Answers for the names it was told, over UDP.
pub struct Dns {
    address: SocketAddr,
    /// What a pod of the namespace `shop` has as its resolv.conf.
    settings: PathBuf,
    names: Arc<Mutex<HashMap<String, Vec<IpAddr>>>>,
}

impl Dns {
    /// `names` are full names with their last dot. One without addresses exists, but has neither A nor AAAA. Of
    /// other names, those of one or two labels cannot be looked up (SERVFAIL), and the rest do not exist.
    pub async fn new(names: &[(&str, &[IpAddr])]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let names = names.iter().map(|(name, addresses)| ((*name).to_owned(), addresses.to_vec())).collect();
        let names = Arc::new(Mutex::new(names));
        tokio::spawn({
            let names = Arc::clone(&names);
            async move {
                let mut buffer = vec![0; 4096];
                loop {
                    let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                    let query = Message::from_vec(&buffer[..length]).unwrap();
                    let answer = answer(&query, &names.lock().unwrap());
                    socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
                }
            }
        });
        let file = format!("kubetether-resolv-{}-{}", std::process::id(), address.port());
        let settings = std::env::temp_dir().join(file);
        let text = "search shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";
        std::fs::write(&settings, text).unwrap();
        Self { address, settings, names }
    }

    /// Lets an agent resolve here, as a pod of the namespace `shop`.
    pub fn of(&self, start: Start) -> Start {
        start
            .env("KUBETETHER_NAMESERVER", self.address)
            .env("KUBETETHER_RESOLV_CONF", self.settings.display())
    }

    /// Changes one name.
    pub fn set(&self, name: &str, addresses: &[IpAddr]) {
        self.names.lock().unwrap().insert(name.to_owned(), addresses.to_vec());
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.settings);
    }
}

fn answer(query: &Message, names: &HashMap<String, Vec<IpAddr>>) -> Message {
    let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    let question = query.queries[0].clone();
    let name = question.name().clone();
    match names.get(&name.to_ascii().to_lowercase()) {
        // As a cluster's server does without one of the internet behind it.
        None if name.num_labels() < 3 => answer.metadata.response_code = ResponseCode::ServFail,
        None => answer.metadata.response_code = ResponseCode::NXDomain,
        Some(addresses) => {
            for address in addresses {
                let data = match (question.query_type(), address) {
                    (RecordType::A, IpAddr::V4(address)) => RData::A(A(*address)),
                    (RecordType::AAAA, IpAddr::V6(address)) => RData::AAAA(AAAA(*address)),
                    _ => continue,
                };
                // As short as can be: tests change names.
                answer.add_answer(Record::from_rdata(name.clone(), 0, data));
            }
        }
    }
    if answer.answers.is_empty() {
        let root = Name::root();
        let soa = SOA::new(root.clone(), root.clone(), 1, 1, 1, 1, 0);
        answer.add_authority(Record::from_rdata(root, 0, RData::SOA(soa)));
    }
    answer.add_query(question);
    answer
}
