//! The question in a message to a name server (RFC 1035, section 4.1).

use memchr::memmem;

/// Maximum length of a name, and of a message that is read.
const LONGEST: usize = 255;
/// Bytes of a message before its question.
const HEADER: usize = 12;

/// A question: a name, and the type of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name, with dots.
    pub name: String,
    /// The type: `A`, `AAAA`, or its number.
    pub kind: String,
}

impl Question {
    /// Bytes of a message with which its first question is whole.
    pub const ENOUGH: usize = HEADER + LONGEST + 1 + 4;

    /// The question in memory that holds a message somewhere: one name of the Internet, asked for
    /// by a resolver that has written nothing else into its message.
    pub fn find(memory: &[u8]) -> Option<Question> {
        // Recursion is desired; one question, no answer, no authority.
        const RESOLVER: [u8; 8] = [0x01, 0x00, 0, 1, 0, 0, 0, 0];
        const INTERNET: [u8; 2] = [0, 1];
        let finds = memmem::find_iter(memory, &RESOLVER).filter_map(|at| at.checked_sub(2));
        finds.filter_map(|at| memory.get(at..)).find_map(|message| {
            let question = Question::parse(message)?;
            let end = HEADER + question.name.len() + 2 + 2;
            let is_whole = message.get(end..end + 2) == Some(&INTERNET);
            let is_name = question.name.bytes().all(|byte| byte.is_ascii_graphic());
            (is_whole && is_name).then_some(question)
        })
    }

    /// The first question of a message; `None` where it is no question.
    pub fn parse(message: &[u8]) -> Option<Question> {
        let (header, mut rest) = message.split_at_checked(HEADER)?;
        let is_question = header.get(2)? & 0x80 == 0;
        let questions = u16::from_be_bytes([*header.get(4)?, *header.get(5)?]);
        if !is_question || questions == 0 {
            return None;
        }
        let mut name = String::new();
        loop {
            let (length, after) = rest.split_first()?;
            rest = after;
            match usize::from(*length) {
                0 => break,
                // A pointer: there is nothing before the first name.
                64.. => return None,
                length => {
                    let (label, after) = rest.split_at_checked(length)?;
                    rest = after;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.push_str(&String::from_utf8_lossy(label));
                    if name.len() > LONGEST {
                        return None;
                    }
                }
            }
        }
        let kind = match u16::from_be_bytes([*rest.first()?, *rest.get(1)?]) {
            1 => "A".to_owned(),
            28 => "AAAA".to_owned(),
            33 => "SRV".to_owned(),
            15 => "MX".to_owned(),
            16 => "TXT".to_owned(),
            12 => "PTR".to_owned(),
            other => other.to_string(),
        };
        (!name.is_empty()).then_some(Question { name, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(flags: u8, questions: u8, rest: &[u8]) -> Vec<u8> {
        [&[7, 7, flags, 0, 0, questions, 0, 0, 0, 0, 0, 0], rest].concat()
    }

    #[test]
    fn the_name_and_the_type_are_read() {
        let question = Question::parse(&message(1, 1, b"\x03www\x07example\x00\x00\x1c\x00\x01"));
        let expected = Question { name: "www.example".to_owned(), kind: "AAAA".to_owned() };
        assert_eq!(question, Some(expected));
    }

    #[test]
    fn a_question_is_found_in_memory() {
        let question = message(1, 1, b"\x03www\x07example\x00\x00\x01\x00\x01");
        let memory = [&[1, 0, 0, 1, 0, 0, 0, 0, 9][..], &question, &[7; 9]].concat();
        let found = Question::find(&memory).map(|it| it.name);
        assert_eq!(found.as_deref(), Some("www.example"));
        assert_eq!(Question::find(&memory[..24]), None);
        assert_eq!(Question::find(&[0; 64]), None);
    }

    #[test]
    fn what_is_no_question_is_none() {
        let name = b"\x01a\x00\x00\x01\x00\x01";
        assert!(Question::parse(&message(1, 1, name)).is_some());
        assert_eq!(Question::parse(&message(0x81, 1, name)), None);
        assert_eq!(Question::parse(&message(1, 0, name)), None);
        for cut in 0..16 {
            assert_eq!(Question::parse(message(1, 1, name).get(..cut).unwrap_or_default()), None);
        }
        assert_eq!(Question::parse(&message(1, 1, b"\xc0\x0c\x00\x01\x00\x01")), None);
        assert_eq!(Question::parse(&message(1, 1, &b"\x3f".repeat(512))), None);
    }
}
