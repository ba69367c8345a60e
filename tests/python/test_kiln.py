#!/usr/bin/env python3
"""The Python package on a compiled model. usage: test_kiln.py ARTIFACT WHEEL

The wheel is unpacked into an empty folder and imported from there, as an installation would be."""
import os
import pathlib
import sys
import tempfile
import threading
import unittest
import zipfile

ARTIFACT = WHEEL = None


class Sessions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = kiln.LanguageModel(ARTIFACT, sessions=4, context_length=96)

    def fresh(self, what):
        session = self.model.session()
        session.append(what)
        return session

    def test_generates_and_streams_the_same(self):
        whole = self.fresh("Once upon a time").generate(max_tokens=20, temperature=0)
        self.assertEqual(len(whole.tokens), 20)
        self.assertEqual(whole.stop, "max_tokens")
        self.assertGreater(whole.tokens_per_second, 0)
        pieces = list(self.fresh("Once upon a time").stream(max_tokens=20, temperature=0))
        self.assertGreater(len(pieces), 5)
        self.assertEqual("".join(pieces), whole.text)
        tokens = self.model.encode("Once upon a time")
        self.assertEqual(self.fresh(tokens).generate(max_tokens=20, temperature=0).tokens, whole.tokens)

    def test_the_seed_decides(self):
        def sample(seed):
            return self.fresh("Tom").generate(max_tokens=12, temperature=1.0, top_k=0, top_p=0.95, seed=seed).tokens
        self.assertEqual(sample(3), sample(3))
        self.assertGreater(len({tuple(sample(seed)) for seed in range(5)}), 1)

    def test_stops(self):
        free = self.fresh("Lily").generate(max_tokens=30, temperature=0)
        stop = free.text[5:9]
        cut = self.fresh("Lily").generate(max_tokens=30, temperature=0, stop_strings=[stop])
        self.assertEqual((cut.text, cut.stop), (free.text[:free.text.index(stop)], "stop_string"))
        cut = self.fresh("Lily").generate(max_tokens=30, temperature=0, stop_tokens=[free.tokens[4]])
        self.assertEqual(cut.tokens, free.tokens[:free.tokens.index(free.tokens[4])])
        cut = self.fresh("Lily").generate(temperature=0, on_text=lambda text: False)
        self.assertEqual(cut.stop, "callback")

    def test_logprobs_and_bias(self):
        result = self.fresh("Ben").generate(max_tokens=5, temperature=0, top_logprobs=3)
        for entry, token in zip(result.logprobs, result.tokens):
            self.assertEqual((entry.token, entry.top[0][0]), (token, token))
            self.assertEqual(entry.logprob, entry.top[0][1])
            self.assertEqual(len(entry.top), 3)
        other = self.fresh("Ben").generate(max_tokens=1, temperature=0, logit_bias={result.tokens[0]: -100.0})
        self.assertNotEqual(other.tokens, result.tokens[:1])

    def test_fork_rewind_save_restore(self):
        session = self.fresh("The dog was")
        session.generate(max_tokens=6, temperature=0)
        fork = session.fork()
        self.assertEqual(fork.tokens, session.tokens)
        expected = session.generate(max_tokens=8, temperature=0).tokens
        with tempfile.TemporaryDirectory() as folder:
            fork.save(os.path.join(folder, "a.session"))
            other = self.model.session()
            other.restore(os.path.join(folder, "a.session"))
        self.assertEqual(other.generate(max_tokens=8, temperature=0).tokens, expected)
        self.assertEqual(fork.generate(max_tokens=8, temperature=0).tokens, expected)
        length = len(fork.tokens)
        fork.rewind(length - 8)
        self.assertEqual(fork.generate(max_tokens=8, temperature=0).tokens, expected)

    def test_overflow_and_cancel(self):
        session = self.fresh("Mia")
        result = session.generate(temperature=0, ignore_end_tokens=True)
        self.assertEqual(result.stop, "context_full")
        session.slide(keep=4)
        self.assertEqual(session.generate(max_tokens=150, temperature=0, ignore_end_tokens=True).stop, "max_tokens")
        timer = threading.Timer(0.05, self.model.cancel)
        timer.start()
        self.assertEqual(session.generate(temperature=0, ignore_end_tokens=True).stop, "cancelled")
        timer.join()

    def test_leaving_a_stream_stops_it(self):
        session = self.fresh("Sam")
        session.slide()
        for count, _ in enumerate(session.stream(ignore_end_tokens=True)):
            if count == 3:
                break
        self.assertLess(len(session.tokens), 90)

    def test_exceptions_come_through(self):
        def fail(_):
            raise KeyError("mine")
        with self.assertRaisesRegex(KeyError, "mine"):
            self.fresh("Tim").generate(on_text=fail)
        with self.assertRaisesRegex(kiln.Error, "no-such-file"):
            kiln.LanguageModel("no-such-file.kiln")
        with self.assertRaisesRegex(kiln.Error, "top_p"):
            self.fresh("Tim").generate(top_p=3.0)
        with self.assertRaises(TypeError):
            self.fresh("Tim").generate(tempreature=3.0)
        with self.assertRaises(kiln.Error):
            self.model.session().append([2 ** 30])

    def test_text_and_tokens(self):
        text = "Hello there, my friend!"
        self.assertEqual(self.model.decode(self.model.encode(text)), text)

    def test_messages_need_a_template(self):
        if self.model.has_chat_template:
            session = self.model.session()
            session.append([{"role": "user", "content": "Hello"}])
            answer = session.generate(max_tokens=8, temperature=0)
            self.assertEqual(session.messages[-1], {"role": "assistant", "content": answer.text})
            session.append([{"role": "user", "content": "And now?"}])
            session.generate(max_tokens=8, temperature=0)
        else:
            with self.assertRaisesRegex(kiln.Error, "template"):
                self.model.session().append([{"role": "user", "content": "Hello"}])


if __name__ == "__main__":
    ARTIFACT, WHEEL = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as installed:
        zipfile.ZipFile(WHEEL).extractall(installed)
        sys.path.insert(0, installed)
        import kiln
        assert pathlib.Path(kiln.__file__).parent == pathlib.Path(installed, "kiln")
        unittest.main(argv=sys.argv[:1])
