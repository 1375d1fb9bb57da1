//! Questions to a name server, as a resolver sends them: RFC 1035, section 4.1.
//!
//! They are a case's to write, so whatever is not exactly a question is taken for none.

use memchr::memmem;

/// Length of the header.
const HEADER: usize = 12;
/// Maximum length of a question that is read: over UDP without EDNS there is no longer one.
pub const LONGEST: usize = 512;
/// Maximum length of a name, its labels and their lengths.
const LONGEST_NAME: usize = 255;

/// A question: a name, and the type of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name, as it would be typed.
    pub name: String,
    /// The type: `A`, `AAAA`, or its number.
    pub kind: String,
}

impl Question {
    /// Bytes of a message with which its question is whole.
    pub const ENOUGH: usize = HEADER + LONGEST_NAME + 4;

    /// The question of a whole message; `None` where it is not a query with one question and nothing
    /// else.
    pub fn of_query(message: &[u8]) -> Option<Question> {
        let (question, additional, rest) = read(message)?;
        // An additional record is that of EDNS, RFC 6891.
        let is_query = additional <= 1 && rest.is_empty() == (additional == 0);
        (message.len() <= LONGEST && is_query).then_some(question)
    }

    /// The question of the beginning of a message.
    pub fn parse(message: &[u8]) -> Option<Question> {
        read(message).map(|(question, ..)| question)
    }

    /// The question in memory that holds a message somewhere, of a resolver that has written nothing
    /// else into its message.
    pub fn find(memory: &[u8]) -> Option<Question> {
        // Recursion is desired; one question, no answer, no authority.
        const RESOLVER: [u8; 8] = [0x01, 0x00, 0, 1, 0, 0, 0, 0];
        let finds = memmem::find_iter(memory, &RESOLVER).filter_map(|at| at.checked_sub(2));
        let questions = finds.filter_map(|at| Question::parse(memory.get(at..)?));
        let mut named = questions.filter(|question| !question.name.contains('\\'));
        named.find(|question| question.name != ".")
    }
}

/// The question of a query, the number of additional records, and what follows.
fn read(message: &[u8]) -> Option<(Question, u16, &[u8])> {
    /// QR and OPCODE: a query of the standard kind.
    const KIND: u8 = 0b1111_1000;
    const INTERNET: u16 = 1;
    let (header, body) = message.split_at_checked(HEADER)?;
    let word = |bytes: &[u8], at: usize| Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let counts = (word(header, 4)?, word(header, 6)?, word(header, 8)?);
    if header.get(2)? & KIND != 0 || counts != (1, 0, 0) {
        return None;
    }
    let (name, rest) = name(body)?;
    let (fields, rest) = rest.split_at_checked(4)?;
    let kind = match word(fields, 0)? {
        1 => "A".to_owned(),
        12 => "PTR".to_owned(),
        15 => "MX".to_owned(),
        16 => "TXT".to_owned(),
        28 => "AAAA".to_owned(),
        33 => "SRV".to_owned(),
        other => other.to_string(),
    };
    let question = (word(fields, 2)? == INTERNET).then_some(Question { name, kind })?;
    Some((question, word(header, 10)?, rest))
}

/// The name at the beginning, and what follows it.
fn name(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (mut text, mut rest) = (String::new(), bytes);
    loop {
        let (length, behind) = rest.split_first()?;
        if bytes.len() - behind.len() > LONGEST_NAME {
            return None;
        }
        // More is a pointer, which a question has no use for.
        let (label, behind) = match length {
            0 if text.is_empty() => return Some((".".to_owned(), behind)),
            0 => return Some((text, behind)),
            1..=63 => behind.split_at_checked(usize::from(*length))?,
            _ => return None,
        };
        if !text.is_empty() {
            text.push('.');
        }
        for byte in label {
            match byte {
                b'.' | b'\\' => text.extend(['\\', char::from(*byte)]),
                0x21..=0x7e => text.push(char::from(*byte)),
                // Section 5.1.
                _ => text.push_str(&format!("\\{byte:03}")),
            }
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A question of glibc's for the address of a name.
    fn question(name: &[u8]) -> Vec<u8> {
        [b"\xfe\x3e\x01\0\0\x01\0\0\0\0\0\0", name, b"\0\x01\0\x01"].concat()
    }

    fn name_asked_for(message: &[u8]) -> Option<String> {
        Question::of_query(message).map(|question| question.name)
    }

    #[test]
    fn a_question_has_a_name_and_a_type() {
        let mut message = question(b"\x03www\x07example\0");
        let kind = message.len() - 3;
        message[kind] = 28;
        let expected = Question { name: "www.example".to_owned(), kind: "AAAA".to_owned() };
        assert_eq!(Question::of_query(&message), Some(expected));
        let asked = |name| name_asked_for(&question(name));
        assert_eq!(asked(b"\x07example\x03com\0").as_deref(), Some("example.com"));
        assert_eq!(asked(b"\x02db\0").as_deref(), Some("db"));
        assert_eq!(asked(b"\0").as_deref(), Some("."));
        assert_eq!(asked(b"\x04a.\n\xff\0").as_deref(), Some("a\\.\\010\\255"));
    }

    #[test]
    fn a_question_may_have_an_edns_record() {
        let mut message = question(b"\x01a\0");
        message[11] = 1;
        assert_eq!(name_asked_for(&message), None);
        message.extend(b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
        assert_eq!(name_asked_for(&message).as_deref(), Some("a"));
    }

    #[test]
    fn a_question_is_found_in_memory() {
        let question = question(b"\x03www\x07example\0");
        let memory = [&[1, 0, 0, 1, 0, 0, 0, 0, 9][..], &question, &[7; 9]].concat();
        let found = Question::find(&memory).map(|it| it.name);
        assert_eq!(found.as_deref(), Some("www.example"));
        assert_eq!(Question::find(&memory[..24]), None);
        assert_eq!(Question::find(&[0; 64]), None);
    }

    #[test]
    fn the_beginning_of_a_message_may_be_enough() {
        let whole = [question(b"\x01a\0"), vec![7; 9]].concat();
        assert_eq!(name_asked_for(&whole), None);
        assert_eq!(Question::parse(&whole).map(|it| it.name).as_deref(), Some("a"));
        let longest = question(&[[1, b'a'].repeat(127), vec![0]].concat());
        assert_eq!(longest.len(), Question::ENOUGH);
    }

    #[test]
    fn what_is_not_exactly_a_question_has_no_name() {
        let good = question(b"\x07example\x03com\0");
        for length in 0..good.len() {
            assert_eq!(name_asked_for(&good[..length]), None, "{length} bytes");
        }
        assert_eq!(name_asked_for(&[&good[..], b"x"].concat()), None);
        // An answer, another kind of query, two questions, an answer in it, another class.
        for (at, byte) in [(2, 0x81), (2, 0x29), (5, 2), (7, 1), (good.len() - 1, 3)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(name_asked_for(&bad), None, "byte {at}");
        }
        for name in [&b"\xc0\x0c"[..], b"\x40a\0", &[1, b'a'].repeat(130)] {
            assert_eq!(name_asked_for(&question(name)), None, "{name:?}");
        }
        let longest = [[1, b'a'].repeat(127), vec![0]].concat();
        assert!(name_asked_for(&question(&longest)).is_some());
        let longer = [[1, b'a'].repeat(127), vec![1, b'a', 0]].concat();
        assert_eq!(name_asked_for(&question(&longer)), None);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let mut message = question(b"\x07example\x03com\0");
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..message.len());
                message[at] = random.u8(..);
            }
            message.truncate(random.usize(..=message.len()));
            let _ = name_asked_for(&message);
        }
    }
}
