// Opens the tables that text goes through before it is encoded: automata, tries, maps,
// normalization forms, rewritings, steps and added tokens.

#include "llm/tokenizer_opening.h"

#include <string.h>

namespace kiln {

constexpr uint32_t max_steps = 64;
constexpr uint32_t max_tables = 128;

/* Pages of 128 entries each, all of which lie in the blocks. */
bool opening_t::read_pages(span_t<uint16_t> pages, uint32_t block_entries, uint32_t index) const {
  if (pages.size == 0)
    return corrupt("a table by code points has no pages", index);
  for (uint32_t i = 0; i < pages.size; ++i)
    if (pages[i] >= block_entries / 128)
      return corrupt("a table by code points has a page without its block", index);
  return true;
}

bool opening_t::read_automaton(const schema::Automaton &from, uint32_t index,
                               automaton_t *to) const {
  span_t<uint16_t> pages = span(from.class_pages());
  bytes_t classes = span(from.class_blocks());
  span_t<uint16_t> transitions = span(from.transitions());
  uint32_t class_count = from.class_count();
  if (class_count < 1 || class_count > 255)
    return corrupt("an automaton has not 1 to 255 classes", index);
  if (!read_pages(pages, classes.size, index))
    return false;
  for (uint32_t i = 0; i < classes.size; ++i)
    if (classes[i] >= class_count)
      return corrupt("an automaton's code point has no class", index);
  *to = {};
  to->class_pages = pages;
  to->class_blocks = classes.data;
  to->ascii_classes = classes.data + pages[0] * 128u;
  to->class_count = class_count;
  const auto *assertions = from.assertions();
  to->assertion_count = assertions ? assertions->size() : 0;
  if (to->assertion_count > max_assertions)
    return corrupt("an automaton has more than 6 assertions", index);
  for (uint32_t i = 0; i < to->assertion_count; ++i) {
    const schema::Assertion &assertion = *assertions->Get(i);
    to->assertions[i] = {assertion.transitions()->data(), assertion.backward()};
    if (!check_transitions(span(assertion.transitions()), (class_count + 1) << i, index))
      return false;
  }
  to->transitions = transitions.data;
  return check_transitions(transitions, (class_count + 1) << to->assertion_count, index);
}

/* Rows of so many columns, each entry of which leads to a row. */
bool opening_t::check_transitions(span_t<uint16_t> transitions, uint32_t columns,
                                  uint32_t index) const {
  uint32_t states = transitions.size / columns;
  if (states < 2 || states > 0x8000 || transitions.size % columns != 0)
    return corrupt("an automaton's transitions do not fill a table", index);
  for (uint32_t i = 0; i < transitions.size; ++i)
    if ((transitions[i] & 0x7FFFu) >= states)
      return corrupt("an automaton's transition leads to no state", index);
  return true;
}

/* The automaton of a pattern, and the one that says where matches begin. */
bool opening_t::read_pattern(const schema::Automaton &from, uint32_t index, automaton_t *to) const {
  if (!read_automaton(from, index, to))
    return false;
  uint32_t columns = (to->class_count + 1) << to->assertion_count;
  for (uint32_t i = 0; i < columns; ++i)
    if (to->transitions[columns + i] & 0x8000u)
      return corrupt("an automaton matches the empty text", index);
  if (!from.starts())
    return true;
  if (!allocate(1, &to->starts) || !read_automaton(*from.starts(), index, to->starts))
    return false;
  to->starts->assertions[to->starts->assertion_count] = {to->starts->transitions, true};
  return true;
}

bool opening_t::read_map(const schema::CharacterMap &from, uint32_t index,
                         character_map_t *to) const {
  span_t<uint32_t> blocks = span(from.blocks());
  bytes_t text = span(from.text());
  to->pages = span(from.pages());
  to->blocks = blocks.data;
  to->text = text.data;
  if (!read_pages(to->pages, blocks.size, index))
    return false;
  for (uint32_t i = 0; i < blocks.size; ++i)
    if (blocks[i] != 0 && (blocks[i] - 1) / 64 + (blocks[i] - 1) % 64 > text.size)
      return corrupt("a character map points outside its text", index);
  for (uint32_t c = 0; c < 128; ++c) {
    uint32_t value = blocks[block_index(to->pages, c)];
    bool byte = value != 0 && (value - 1) % 64 == 1 && text[(value - 1) / 64] < 0x80;
    to->ascii[c] = value == 0 ? (uint8_t)c : byte ? text[(value - 1) / 64] : 0xFF;
  }
  return true;
}

bool opening_t::read_normalization(const schema::Normalization &from, uint32_t index,
                                   normalization_t *to) const {
  bytes_t blocks = span(from.blocks());
  if (from.map() >= source->maps()->size())
    return corrupt("a normalization without its map", index);
  to->pages = span(from.pages());
  to->blocks = blocks.data;
  to->map = &tokenizer->maps[from.map()];
  to->composes = from.composes();
  static_assert(sizeof(composition_t) == sizeof(schema::Composition), "read in place");
  to->compositions = {reinterpret_cast<const composition_t *>(from.compositions()->Data()),
                      from.compositions()->size()};
  for (uint32_t i = 0; i < to->compositions.size; ++i)
    if (to->compositions[i].composed > 0x10FFFF)
      return corrupt("a composition is no code point", index);
  return read_pages(to->pages, blocks.size, index);
}

bool opening_t::read_rewriting(const schema::Rewriting &from, uint32_t index,
                               rewriting_t *to) const {
  to->text = span(from.text());
  if (from.trie() >= source->tries()->size() ||
      (from.clusters() && from.cluster_automaton() >= source->automata()->size()))
    return corrupt("a rewriting without its trie or automaton", index);
  if (from.clusters() && tokenizer->automata[from.cluster_automaton()].assertion_count != 0)
    return corrupt("a rewriting whose clusters have assertions", index);
  to->trie = &tokenizer->tries[from.trie()];
  to->clusters = from.clusters() ? &tokenizer->automata[from.cluster_automaton()] : nullptr;
  for (uint32_t i = 0; i < to->trie->units.size; ++i) {
    uint32_t unit = to->trie->units[i], value = unit & 0x7FFFFF;
    if (unit >> 23 == 0 && (value >= to->text.size || to->text[value] > to->text.size - value - 1))
      return corrupt("a rewriting points outside its text", index);
  }
  return true;
}

bool opening_t::read_tables() const {
  uint32_t automata = source->automata()->size(), tries = source->tries()->size(),
           maps = source->maps()->size(), forms = source->normalizations()->size(),
           rewritings = source->rewritings()->size();
  if (automata > max_tables || tries > max_tables || maps > max_tables || forms > max_tables ||
      rewritings > max_tables)
    return corrupt("expected at most 128 tables of a kind", automata);
  if (!allocate(automata, &tokenizer->automata) || !allocate(tries, &tokenizer->tries) ||
      !allocate(maps, &tokenizer->maps) || !allocate(forms, &tokenizer->normalizations) ||
      !allocate(rewritings, &tokenizer->rewritings))
    return false;
  tokenizer->automata_count = automata;
  for (uint32_t i = 0; i < automata; ++i)
    if (!read_pattern(*source->automata()->Get(i), i, &tokenizer->automata[i]))
      return false;
  for (uint32_t i = 0; i < tries; ++i) {
    tokenizer->tries[i].units = span(source->tries()->Get(i)->units());
    if (tokenizer->tries[i].units.size == 0)
      return corrupt("a trie has no root", i);
  }
  for (uint32_t i = 0; i < maps; ++i)
    if (!read_map(*source->maps()->Get(i), i, &tokenizer->maps[i]))
      return false;
  for (uint32_t i = 0; i < forms; ++i)
    if (!read_normalization(*source->normalizations()->Get(i), i, &tokenizer->normalizations[i]))
      return false;
  for (uint32_t i = 0; i < rewritings; ++i)
    if (!read_rewriting(*source->rewritings()->Get(i), i, &tokenizer->rewritings[i]))
      return false;
  return true;
}

bool opening_t::read_steps(const tables_t<schema::TextStep> &from, bool may_split,
                           text_step_t **steps, uint32_t *count) const {
  if (from.size() > max_steps)
    return corrupt("too many text steps", from.size());
  if (!allocate(from.size(), steps))
    return false;
  *count = from.size();
  for (uint32_t i = 0; i < from.size(); ++i) {
    const schema::TextStep &step = *from.Get(i);
    if (step.kind() > schema::TextStepKind_MAX || step.when() > schema::PrependWhen_MAX ||
        step.behavior() > schema::SplitBehavior_MAX)
      return corrupt("a text step of unknown kind", i);
    if (step.kind() == schema::TextStepKind_split && !may_split)
      return corrupt("a split among the steps of the normalizer", i);
    const void *found = nullptr;
    auto look_up = [&](uint32_t size, const auto *all) {
      found = step.table() < size ? all + step.table() : nullptr;
    };
    uint8_t kind = step.kind();
    bool wants_table = true;
    if (kind == step_replace || kind == step_split)
      look_up(source->automata()->size(), tokenizer->automata);
    else if (kind == step_map)
      look_up(source->maps()->size(), tokenizer->maps);
    else if (kind == step_normalize)
      look_up(source->normalizations()->size(), tokenizer->normalizations);
    else if (kind == step_rewrite)
      look_up(source->rewritings()->size(), tokenizer->rewritings);
    else
      wants_table = false;
    if (wants_table && !found)
      return corrupt("a text step without its table", i);
    (*steps)[i] = {kind,        step.when(),  step.behavior(), step.invert(),
                   step.left(), step.right(), found,           span(step.text())};
  }
  return true;
}

static int compare(bytes_t a, bytes_t b) {
  uint32_t common = a.size < b.size ? a.size : b.size;
  int order = common ? memcmp(a.data, b.data, common) : 0;
  return order ? order : a.size < b.size ? -1 : a.size > b.size;
}

bool opening_t::read_added(const tables_t<schema::AddedToken> &from, added_tokens_t *to) const {
  if (!allocate(from.size(), &to->tokens))
    return false;
  to->count = from.size();
  if (source->word() < source->automata()->size())
    to->word = &tokenizer->automata[source->word()];
  for (uint32_t i = 0; i < from.size(); ++i) {
    const schema::AddedToken &token = *from.Get(i);
    added_token_t &added = to->tokens[i];
    added = {span(token.text()), token.id(),     token.special(),
             token.lstrip(),     token.rstrip(), token.single_word()};
    if (added.single_word && (!to->word || to->word->assertion_count != 0))
      return corrupt("an added token is a single word, but there is no word automaton", i);
    if (added.text.size == 0 || added.id >= tokenizer->size)
      return corrupt("an added token without text or outside the vocabulary", i);
    if (i > 0 && compare(to->tokens[i - 1].text, added.text) >= 0)
      return corrupt("added tokens are not in order", i);
    ++to->first[added.text[0] + 1];
  }
  for (uint32_t byte = 0; byte < 256; ++byte)
    to->first[byte + 1] += to->first[byte];
  return true;
}

bool opening_t::read_text() const {
  if (!read_steps(*source->normalizer(), false, &tokenizer->normalizer,
                  &tokenizer->normalizer_count) ||
      !read_steps(*source->pre_tokenizer(), true, &tokenizer->pre_tokenizer,
                  &tokenizer->pre_tokenizer_count))
    return false;
  tokenizer->first_split = tokenizer->pre_tokenizer_count;
  while (tokenizer->first_split > 0 &&
         tokenizer->pre_tokenizer[tokenizer->first_split - 1].kind == step_split)
    --tokenizer->first_split;
  return read_added(*source->added_tokens(), &tokenizer->added) &&
         read_added(*source->normalized_added_tokens(), &tokenizer->normalized_added);
}

} // namespace kiln
