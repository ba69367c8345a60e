#!/usr/bin/env python3
"""kiln.Encoder on a compiled encoder. usage: test_encoder.py ARTIFACT WHEEL"""
import math
import sys
import tempfile
import unittest
import zipfile

ARTIFACT = WHEEL = None


class Encoders(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.encoder = kiln.Encoder(ARTIFACT, workers=1)

    def test_embeds_texts_and_tokens(self):
        one = self.encoder.embed("the cat sat")
        self.assertEqual(len(one), self.encoder.dimensions)
        self.assertAlmostEqual(math.sqrt(sum(x * x for x in one)), 1, places=5)
        many = self.encoder.embed(["the dog", "the cat sat"])
        for found, expected in zip(many[1], one):
            self.assertAlmostEqual(found, expected, places=5)
        self.assertEqual(self.encoder.embed([]), [])
        self.assertEqual(len(self.encoder.embed([[1, 5, 2], [1, 2]])), 2)
        self.assertEqual((self.encoder.pooling, self.encoder.normalized), ("mean", True))

    def test_refuses(self):
        with self.assertRaisesRegex(kiln.Error, "no-such-file"):
            kiln.Encoder("no-such-file.kiln")
        with self.assertRaisesRegex(kiln.Error, "text 1: token 0"):
            self.encoder.embed([[1], [2**30]])
        with self.assertRaisesRegex(kiln.Error, "expected 1 to"):
            self.encoder.embed([[1] * (self.encoder.context_length + 1)])

    def test_cancel_and_close(self):
        with kiln.Encoder(ARTIFACT) as encoder:
            encoder.cancel()
            with self.assertRaisesRegex(kiln.Error, "cancelled"):
                encoder.embed("a")
            encoder.embed("a")
        with self.assertRaisesRegex(ValueError, "closed"):
            encoder.embed("a")


if __name__ == "__main__":
    ARTIFACT, WHEEL = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as installed:
        zipfile.ZipFile(WHEEL).extractall(installed)
        sys.path.insert(0, installed)
        import kiln
        unittest.main(argv=sys.argv[:1])
