//! The tests whose output stands beside this file: libtest of Rust 1.95, `--test-threads=1`; a
//! thread id is `(7)`, a text's duration `0.00s`. `report/tests.rs` compares with it.

#[cfg(test)]
mod t {
    #[test]
    fn a_ok() {
        println!("out-a");
    }
    #[test]
    fn b_fail() {
        println!("out-b");
        panic!("boom");
    }
    #[test]
    #[ignore]
    fn c_ignored() {}
    #[test]
    #[ignore = "needs \"db\""]
    fn d_ignored() {}
    #[test]
    #[should_panic]
    fn e_panics() {
        panic!("x")
    }
    #[test]
    #[should_panic]
    fn f_does_not_panic() {}
    #[test]
    #[should_panic(expected = "abc")]
    fn g_panics_otherwise() {
        panic!("xyz")
    }
    #[test]
    fn h_error() -> Result<(), String> {
        println!("\t\u{1b}[31m\u{7f}\u{8}\u{b}ä\\\u{1}");
        Err("bad".into())
    }
    #[test]
    fn i_fails_silently() {
        std::panic::resume_unwind(Box::new(1));
    }
    #[test]
    fn j_half_a_line() {
        print!("no newline");
    }
}
