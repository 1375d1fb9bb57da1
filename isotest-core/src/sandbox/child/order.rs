//! Orders of the warden to a fork server, and its answers: packets on their socket.
//!
//! Beside an order travel the descriptors that become 1 and 2, the scratch, and the socket to who keeps
//! the outer end of a terminal where descriptor 0 is one.

/// The descriptors that the warden gives a server: its socket, the slots, the set-up.
pub const SOCKET: usize = 3;
pub const SLOTS: usize = 4;
pub const SETUP: usize = 5;

/// The largest order. A case whose own arguments need more is executed.
pub const LARGEST: usize = 4096;

/// Packet that is answered by [`Answer::Ready`] once all orders before it have been carried out.
pub const PING: [u8; 1] = [0];

/// One case to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order<'a> {
    /// Its slot.
    pub slot: u32,
    /// Number of the strings that are arguments; the others are its environment's.
    pub arguments: u32,
    /// NUL-terminated strings, one behind the other.
    pub strings: &'a [u8],
}

/// Bytes before the strings.
pub const HEADER: usize = 8;

impl<'a> Order<'a> {
    /// The header, as it goes before the strings.
    pub fn header(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let (slot, arguments) = bytes.split_at_mut(4);
        slot.copy_from_slice(&self.slot.to_le_bytes());
        arguments.copy_from_slice(&self.arguments.to_le_bytes());
        bytes
    }

    /// Reads an order; `None` where it is none.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (header, strings) = bytes.split_at_checked(HEADER)?;
        let word = |at| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let ends = strings.is_empty() || strings.last() == Some(&0);
        let order = Order { slot: word(0)?, arguments: word(4)?, strings };
        (ends && order.arguments as usize <= order.count()).then_some(order)
    }

    /// Number of strings.
    pub fn count(&self) -> usize {
        self.strings.iter().filter(|byte| **byte == 0).count()
    }
}

/// Answer of a fork server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It waits for orders.
    Ready,
    /// The case in this slot waits for its id maps.
    Cloned(u32),
    /// The case in this slot could not be cloned; the slot says why.
    Refused(u32),
}

impl Answer {
    /// As a packet.
    pub fn bytes(self) -> [u8; 8] {
        let (kind, slot) = match self {
            Answer::Ready => (0_u32, 0),
            Answer::Cloned(slot) => (1, slot),
            Answer::Refused(slot) => (2, slot),
        };
        (u64::from(kind) << 32 | u64::from(slot)).to_le_bytes()
    }

    /// Reads a packet; `None` where it is no answer.
    pub fn read(bytes: &[u8]) -> Option<Answer> {
        let word = u64::from_le_bytes(bytes.try_into().ok()?);
        match (word >> 32, word as u32) {
            (0, 0) => Some(Answer::Ready),
            (1, slot) => Some(Answer::Cloned(slot)),
            (2, slot) => Some(Answer::Refused(slot)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(random: &mut fastrand::Rng, length: usize) -> Vec<u8> {
        // Many zeros: they end strings, and make small numbers.
        (0..length).map(|_| if random.bool() { 0 } else { random.u8(..) }).collect()
    }

    #[test]
    fn an_order_that_is_written_is_read_back() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let length = random.usize(..100);
            let mut strings = bytes(&mut random, length);
            if !strings.is_empty() {
                strings.push(0);
            }
            let count = strings.iter().filter(|byte| **byte == 0).count() as u32;
            let order =
                Order { slot: random.u32(..), arguments: random.u32(..=count), strings: &strings };
            let written = [order.header().as_slice(), order.strings].concat();
            assert_eq!(Order::read(&written), Some(order));
            let more = Order { arguments: count + 1 + random.u32(..9), ..order };
            assert_eq!(Order::read(&[more.header().as_slice(), more.strings].concat()), None);
        }
    }

    #[test]
    fn any_packet_is_an_order_in_full_or_none() {
        let mut random = fastrand::Rng::with_seed(2);
        let mut orders = 0;
        for _ in 0..100_000 {
            let length = random.usize(..64);
            let packet = bytes(&mut random, length);
            let Some(order) = Order::read(&packet) else { continue };
            orders += 1;
            assert_eq!([order.header().as_slice(), order.strings].concat(), packet);
            assert!(order.arguments as usize <= order.count());
            assert!(order.strings.last().is_none_or(|last| *last == 0));
        }
        assert!(orders > 100, "{orders}");
        assert_eq!(Order::read(&PING), None);
    }

    #[test]
    fn any_packet_is_an_answer_in_full_or_none() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut answers = 0;
        for _ in 0..100_000 {
            let length = random.usize(..12);
            let mut packet = bytes(&mut random, length);
            if let Some(kind) = packet.get_mut(4) {
                *kind %= 4;
            }
            let Some(answer) = Answer::read(&packet) else { continue };
            answers += 1;
            assert_eq!(answer.bytes().as_slice(), packet);
        }
        assert!(answers > 100, "{answers}");
        for slot in [0, 1, u32::MAX] {
            for answer in [Answer::Ready, Answer::Cloned(slot), Answer::Refused(slot)] {
                assert_eq!(Answer::read(&answer.bytes()), Some(answer));
            }
        }
    }
}
