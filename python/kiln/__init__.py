"""Kiln for Python: runs language models and encoders that `kiln compile` has made.

    import kiln
    session = kiln.LanguageModel("model.kiln").session()
    session.append([{"role": "user", "content": "Tell me a story."}])
    for text in session.stream(max_tokens=200):
        print(text, end="", flush=True)

    vectors = kiln.Encoder("encoder.kiln").embed(["A text.", "Another one."])

One thread at a time uses a model and its sessions; LanguageModel.cancel may come from any thread. What fails raises
kiln.Error, whose text says what was expected, what was found, and where.
"""
import array
import ctypes
import dataclasses
import os
import queue
import threading

from . import _c

__version__ = "0.1.0"
__all__ = ["Encoder", "Error", "Generation", "LanguageModel", "Session", "TokenLogprobs"]

POOLINGS = ("mean", "cls", "max")
STOPS = ("end_token", "max_tokens", "context_full", "callback", "stop_string", "cancelled")


class Error(Exception):
    """A failed call: `status` is the number of kiln/status.def."""

    def __init__(self, status, text=""):
        fixed = _c.lib.kiln_status_text(status).decode()
        super().__init__(f"{fixed}: {text}" if text else fixed)
        self.status = status


@dataclasses.dataclass
class TokenLogprobs:
    """Natural logarithms of probabilities under the model's own distribution."""
    token: int
    logprob: float
    top: list  # of (token, logprob), the likeliest first


@dataclasses.dataclass
class Generation:
    """What was generated, why it ended (one of STOPS), and how long it took."""
    text: str
    tokens: list
    stop: str
    prompt_tokens: int
    prompt_seconds: float
    seconds: float
    logprobs: list = dataclasses.field(default_factory=list)

    @property
    def tokens_per_second(self):
        return len(self.tokens) / self.seconds if self.seconds else 0.0


def _check(status, error):
    if status != _c.OK:
        raise Error(status, error.text.decode("utf-8", "replace"))


def _call(name, *arguments):
    """Calls a function whose last parameter is the error."""
    error = _c.Error()
    _check(getattr(_c.lib, name)(*arguments, ctypes.byref(error)), error)


def _ids(tokens):
    tokens = list(tokens)
    return (ctypes.c_int32 * len(tokens))(*tokens), len(tokens)


class LanguageModel:
    """A compiled language model. `workers` 0: the physical cores; `context_length` 0: the model's. `sessions` may be
    open at the same time, forks included."""

    def __init__(self, path, *, workers=0, sessions=4, context_length=0, cache_pages=0, chunk=0):
        self._llm, self._chat = ctypes.c_void_p(), ctypes.c_void_p()
        options = _c.LlmOptions(sessions, context_length, cache_pages, chunk)
        _call("kiln_llm_open", os.fsencode(path), workers, options, self._llm)
        self._info = _c.LlmInfo()
        _c.lib.kiln_llm_get_info(self._llm, self._info)
        error = _c.Error()
        status = _c.lib.kiln_chat_open(_c.lib.kiln_llm_model(self._llm), self._chat, error)
        if status != _c.NO_CHAT_TEMPLATE:
            _check(status, error)

    def close(self):
        """Gives the memory back; the model's sessions must not be used any more."""
        llm, self._llm = getattr(self, "_llm", None), None
        if llm:
            _c.lib.kiln_chat_close(self._chat)
            _c.lib.kiln_llm_destroy(llm)

    __del__ = close

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def session(self):
        """An empty session."""
        sequence = ctypes.c_uint32()
        _call("kiln_sequence_open", self._handle(), sequence)
        return Session(self, sequence.value, [])

    def cancel(self):
        """From any thread: ends the generation that runs, or the next one."""
        _c.lib.kiln_llm_cancel(self._handle())

    @property
    def context_length(self):
        return self._info.context_length

    @property
    def vocab_size(self):
        return self._info.vocab_size

    @property
    def end_tokens(self):
        return self._info.eos_tokens[:self._info.eos_token_count]

    @property
    def has_chat_template(self):
        return bool(self._chat)

    def fact(self, key):
        """A fact that was recorded when the model was compiled ("architecture", "license"), or None."""
        value = _c.lib.kiln_model_fact(_c.lib.kiln_llm_model(self._handle()), key.encode())
        return value.decode() if value is not None else None

    def encode(self, text, *, template=True, special_as_text=False):
        """Text to tokens; `template` puts the ids around the text that the model was trained with."""
        flags = (_c.ENCODE_TEMPLATE if template else 0) | (_c.ENCODE_SPECIAL_AS_TEXT if special_as_text else 0)
        data, count, capacity = text.encode(), ctypes.c_size_t(), 0
        while True:
            ids, error = (ctypes.c_int32 * capacity)(), _c.Error()
            status = _c.lib.kiln_tokenizer_encode(self._tokenizer(), data, len(data), flags, ids, capacity, count, error)
            if status != _c.BUFFER_TOO_SMALL:
                _check(status, error)
                return list(ids[:count.value])
            capacity = count.value

    def decode(self, tokens, *, skip_special=True):
        """Tokens to text."""
        ids, count = _ids(tokens)
        size, capacity = ctypes.c_size_t(), 0
        while True:
            text, error = ctypes.create_string_buffer(capacity + 1), _c.Error()
            status = _c.lib.kiln_tokenizer_decode(self._tokenizer(), ids, count,
                                                  _c.DECODE_SKIP_SPECIAL if skip_special else 0, text, capacity, size,
                                                  error)
            if status != _c.BUFFER_TOO_SMALL:
                _check(status, error)
                return text.raw[:size.value].decode("utf-8", "replace")
            capacity = size.value

    def _handle(self):
        if not self._llm:
            raise ValueError("the model is closed")
        return self._llm

    def _tokenizer(self):
        tokenizer = _c.lib.kiln_llm_tokenizer(self._handle())
        if not tokenizer:
            raise Error(60)
        return tokenizer

    def _sampler_options(self, sampling):
        """What the model's makers recommend, changed as the caller wants."""
        options, keep = self._info.sampler, None
        options = _c.SamplerOptions.from_buffer_copy(options)
        for name, value in sampling.items():
            if name == "logit_bias":
                keep = (_c.LogitBias * len(value))(*value.items())
                options.logit_bias, options.logit_bias_count = keep, len(value)
            elif name in _SAMPLING:
                setattr(options, name, value)
            else:
                raise TypeError(f"generate() got an unexpected keyword argument {name!r}")
        return options, keep


_SAMPLING = {name for name, _ in _c.SamplerOptions._fields_} - {"logit_bias", "logit_bias_count"}


class Session:
    """A text in the making. Made by LanguageModel.session, fork; closed when it is deleted."""

    def __init__(self, model, sequence, messages):
        self._model, self._sequence, self._messages = model, sequence, messages

    def close(self):
        model, self._model = getattr(self, "_model", None), None
        if model and model._llm:
            _c.lib.kiln_sequence_close(model._llm, self._sequence, None)

    __del__ = close

    def append(self, what):
        """A text, a list of tokens, or a list of messages ({"role": …, "content": …}), which go through the model's
        own chat template; what generate() answers then is the assistant's turn."""
        llm = self._handle()
        if isinstance(what, str):
            data = what.encode()
            flags = 0 if self.tokens else _c.ENCODE_TEMPLATE
            _call("kiln_sequence_append_text", llm, self._sequence, data, len(data), flags)
            return
        what = list(what)
        if what and isinstance(what[0], dict):
            self._append_messages(what)
            return
        ids, count = _ids(what)
        _call("kiln_sequence_append", llm, self._sequence, ids, count, None, None)

    def _append_messages(self, turns):
        if not self._model.has_chat_template:
            raise Error(_c.NO_CHAT_TEMPLATE)
        whole = self._messages + turns
        contents = [turn["content"].encode() for turn in whole]
        array = (_c.ChatMessage * len(whole))(*[
            _c.ChatMessage(turn["role"].encode(), content, len(content)) for turn, content in zip(whole, contents)])
        _call("kiln_sequence_assign_messages", self._handle(), self._sequence, self._model._chat, array, len(whole), None,
              None)
        self._messages = whole

    def generate(self, *, max_tokens=0, on_text=None, stop_strings=(), stop_tokens=(), ignore_end_tokens=False,
                 top_logprobs=None, **sampling):
        """Samples until something says stop, and returns a Generation. `on_text` gets the text as it comes; returning
        False stops. `sampling`: temperature, top_k, top_p, min_p, typical_p, repetition_penalty, presence_penalty,
        frequency_penalty, penalty_window, logit_bias ({token: bias}), seed; what is not given is as the model's makers
        recommend. `top_logprobs` N: Generation.logprobs, with the N likeliest of each place."""
        llm = self._handle()
        options, _keep = self._model._sampler_options(sampling)
        sampler = ctypes.c_void_p()
        _call("kiln_sampler_create", options, self._model.vocab_size, sampler)
        top = (_c.TokenLogprob * (top_logprobs or 0))()
        logprobs = _c.Logprobs(0, 0, top, len(top))
        pieces, tokens, collected, raised = [], [], [], []

        def on_token(_user, token, data, size):
            try:
                if token >= 0:
                    tokens.append(token)
                    if top_logprobs is not None:
                        likeliest = [(entry.id, entry.logprob) for entry in top[:logprobs.top_count]]
                        collected.append(TokenLogprobs(token, logprobs.chosen, likeliest))
                if size:
                    pieces.append(ctypes.string_at(data, size).decode("utf-8", "replace"))
                    if on_text is not None and on_text(pieces[-1]) is False:
                        return 1
                return 0
            except BaseException as exception:  # Ctrl-C too: it goes on behind the C frames
                raised.append(exception)
                return 1

        generate = _c.GenerateOptions()
        generate.max_tokens, generate.ignore_end_tokens = max_tokens, ignore_end_tokens
        generate.stop_tokens, generate.stop_token_count = _ids(stop_tokens)
        stops = [stop.encode() for stop in ([stop_strings] if isinstance(stop_strings, str) else stop_strings)]
        generate.stop_strings, generate.stop_string_count = (ctypes.c_char_p * len(stops))(*stops), len(stops)
        generate.sampler, generate.on_token = sampler, _c.TokenFn(on_token)
        if top_logprobs is not None:
            generate.logprobs = ctypes.pointer(logprobs)
        stats, error = _c.Stats(), _c.Error()
        try:
            status = _c.lib.kiln_sequence_generate(llm, self._sequence, None, 0, generate, stats, error)
        finally:
            _c.lib.kiln_sampler_destroy(sampler)
        if raised:
            raise raised[0]
        if status != _c.CANCELLED:
            _check(status, error)
        text = "".join(pieces)
        if self._messages:
            self._messages.append({"role": "assistant", "content": text})
        return Generation(text, tokens, STOPS[stats.stop], stats.prompt_tokens, stats.prompt_ns / 1e9,
                          stats.generated_ns / 1e9, collected)

    def stream(self, **options):
        """The same as an iterator over pieces of text. Leaving the loop stops the generation."""
        pieces, left = queue.SimpleQueue(), threading.Event()

        def work():
            try:
                self.generate(on_text=lambda text: pieces.put(text) or not left.is_set(), **options)
                pieces.put(None)
            except BaseException as exception:
                pieces.put(exception)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            left.set()
            worker.join()

    @property
    def tokens(self):
        """All tokens of the text."""
        count = ctypes.c_uint32()
        data = _c.lib.kiln_sequence_tokens(self._handle(), self._sequence, count)
        return data[:count.value] if data else []

    @property
    def messages(self):
        """The conversation so far, where there is one."""
        return list(self._messages)

    def rewind(self, length):
        """Forgets all tokens from this position on, and the conversation."""
        _call("kiln_sequence_truncate", self._handle(), self._sequence, length)
        self._messages = []

    def fork(self):
        """A second session with the same text; both share what is in memory."""
        sequence = ctypes.c_uint32()
        _call("kiln_sequence_fork", self._handle(), self._sequence, sequence)
        return Session(self._model, sequence.value, list(self._messages))

    def slide(self, keep=4):
        """Where the context ends: keep the first tokens and drop the oldest of the others, instead of stopping."""
        _call("kiln_sequence_set_overflow", self._handle(), self._sequence, 1, keep)

    def save(self, path):
        """Writes tokens and cache to a file."""
        _call("kiln_sequence_save_path", self._handle(), self._sequence, os.fsencode(path))

    def restore(self, path):
        """Takes the text of a file that was saved with the same artifact."""
        _call("kiln_sequence_restore_path", self._handle(), self._sequence, os.fsencode(path))
        self._messages = []

    def _handle(self):
        if not self._model:
            raise ValueError("the session is closed")
        return self._model._handle()


class Encoder:
    """A compiled encoder: texts to vectors. `workers` 0: the physical cores."""

    def __init__(self, path, *, workers=0):
        self._encoder, self._info = ctypes.c_void_p(), _c.EncoderInfo()
        _call("kiln_encoder_open", os.fsencode(path), workers, self._encoder)
        _c.lib.kiln_encoder_get_info(self._encoder, self._info)

    def close(self):
        """Gives the memory back."""
        encoder, self._encoder = getattr(self, "_encoder", None), None
        if encoder:
            _c.lib.kiln_encoder_destroy(encoder)

    __del__ = close

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def embed(self, texts):
        """The embedding of a text, or a list of embeddings for a list of texts (each of them a str, or a list of tokens,
        which are taken as they are). An embedding is an array.array of `dimensions` floats, which numpy.asarray takes
        without a copy. Texts beyond `context_length` tokens are cut; as many tokens are an error."""
        if isinstance(texts, str):
            return self.embed([texts])[0]
        texts = list(texts)
        values = (ctypes.c_float * (len(texts) * self.dimensions))()
        if any(isinstance(text, str) for text in texts):
            contents = [text.encode() for text in texts]
            array_of_texts = (_c.Text * len(texts))(*[_c.Text(content, len(content)) for content in contents])
            _call("kiln_encoder_embed", self._handle(), array_of_texts, len(texts), values, None)
        else:
            texts = [list(text) for text in texts]
            ids, _count = _ids(token for text in texts for token in text)
            lengths = (ctypes.c_size_t * len(texts))(*map(len, texts))
            _call("kiln_encoder_embed_tokens", self._handle(), ids, None, lengths, len(texts), values)
        whole = array.array("f", values)
        return [whole[i * self.dimensions:(i + 1) * self.dimensions] for i in range(len(texts))]

    def cancel(self):
        """From any thread: ends the call that runs, or the next one, with kiln.Error."""
        _c.lib.kiln_encoder_cancel(self._handle())

    @property
    def dimensions(self):
        return self._info.dimensions

    @property
    def context_length(self):
        return self._info.context_length

    @property
    def pooling(self):
        """One of POOLINGS."""
        return POOLINGS[self._info.pooling]

    @property
    def normalized(self):
        """Whether embeddings have length 1."""
        return bool(self._info.normalized)

    def _handle(self):
        if not self._encoder:
            raise ValueError("the encoder is closed")
        return self._encoder
