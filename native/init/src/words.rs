//! The program's words. The kernel splits its command line at blanks and keeps together what stands in double quotes;
//! urunc's encoder puts single quotes around a word with blanks, which the kernel does not know, so that such a word
//! arrives in pieces.

use alloc::vec::Vec;

/// Joins the pieces again: from a word that begins with a quote (`'` or `"`) to the first that ends with the same one, by
/// single blanks and without the two quotes. A word that holds a blank was kept together by the kernel; it begins and ends
/// nothing. A word that is quoted by itself keeps its quotes, since no encoder put them there, and so does one whose group
/// has no end.
pub fn joined(words: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = words.as_slice();
    while let Some((first, after)) = rest.split_first() {
        match group_length(rest) {
            Some(length) => {
                let whole = rest[..length].join(&b' ');
                out.push(whole[1..whole.len() - 1].to_vec());
                rest = &rest[length..];
            }
            None => {
                out.push(first.clone());
                rest = after;
            }
        }
    }
    out
}

/// How many words the group that begins here has.
fn group_length(words: &[Vec<u8>]) -> Option<usize> {
    let (first, after) = words.split_first()?;
    let quote = first.first().copied().filter(|byte| b"'\"".contains(byte))?;
    let is_whole = first.len() > 1 && first.ends_with(&[quote]);
    if is_whole || is_kept_together(first) {
        return None;
    }
    let ends = |word: &Vec<u8>| word.ends_with(&[quote]) && !is_kept_together(word);
    let is_doubled = |word: &Vec<u8>| word.ends_with(&[quote, quote]);
    // A doubled quote ends the group only where nothing else does: it is the word's own before the encoder's.
    let end = after.iter().position(|word| ends(word) && !is_doubled(word));
    end.or_else(|| after.iter().position(ends)).map(|at| at + 2)
}

fn is_kept_together(word: &[u8]) -> bool {
    word.contains(&b' ')
}

#[cfg(test)]
mod tests {
    use super::joined;

    fn check(words: &[&str], expected: &[&str]) {
        let words = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let out: Vec<String> = joined(words)
            .iter()
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        assert_eq!(out, expected);
    }

    #[test]
    fn words_without_quotes_stay_as_they_are() {
        check(&[], &[]);
        check(&["sh", "-c", "", "it's", "a'b"], &["sh", "-c", "", "it's", "a'b"]);
    }

    #[test]
    fn every_group_is_joined_and_nothing_after_it_is_lost() {
        check(
            &["sh", "-c", "'echo", "a", "b'", "x", "\"c", "d\"", "y"],
            &["sh", "-c", "echo a b", "x", "c d", "y"],
        );
        check(&["'", "a", "'"], &[" a "]);
        check(&["'a", "\"b", "c\"", "d'"], &["a \"b c\" d"]);
    }

    #[test]
    fn what_the_kernel_kept_together_begins_and_ends_no_group() {
        check(&["'a b", "c'"], &["'a b", "c'"]);
        check(&["'a", "b c'", "d'"], &["a b c' d"]);
    }

    #[test]
    fn a_word_in_its_own_quotes_keeps_them_and_so_does_a_group_without_end() {
        check(&["'a'", "b"], &["'a'", "b"]);
        check(&["'a", "b"], &["'a", "b"]);
        check(&["'a", "b\""], &["'a", "b\""]);
    }

    #[test]
    fn a_doubled_quote_does_not_end_a_group_unless_it_is_the_only_end() {
        check(&["'a", "b''", "c'"], &["a b'' c"]);
        check(&["'say", "'hi''", "x"], &["say 'hi'", "x"]);
    }

    #[test]
    fn neither_length_nor_number_is_limited() {
        let long = "x".repeat(5000);
        let words: Vec<&str> = std::iter::repeat_n(long.as_str(), 300).collect();
        check(&words, &words);
    }
}
