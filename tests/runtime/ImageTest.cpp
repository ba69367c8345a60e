// Code images: what a linker makes is mapped and run (CallTest); what is broken, or wants more than
// relative relocations, is refused.

#include "ToyCall.h"

#include <gtest/gtest.h>

using namespace kiln::test;

namespace {

class Image : public testing::Test {
protected:
  Toy toy{imagePath()};
  Bytes &elf = toy.image;

  void write64(size_t at, uint64_t value) { std::memcpy(elf.data() + at, &value, 8); }
  /* The program header of a type, the nth of them. */
  size_t header(uint32_t type, int nth = 0) {
    for (size_t at = read64(elf, 32), i = 0; i < read16(elf, 56); ++i, at += 56)
      if (elf[at] == type && nth-- == 0)
        return at;
    ADD_FAILURE() << "no program header of type " << type;
    return 0;
  }
  size_t executable() {
    for (int n = 0;; ++n)
      if (elf[header(1, n) + 4] & 1)
        return header(1, n);
  }
  /* Where an entry of the dynamic table lies. */
  size_t dynamic(uint64_t tag) {
    size_t at = read64(elf, header(2) + 8);
    while (read64(elf, at) != tag && read64(elf, at) != 0)
      at += 16;
    EXPECT_EQ(read64(elf, at), tag);
    return at;
  }
  void expectRefusal(const char *part) {
    Opened opened(toy);
    EXPECT_EQ(opened.status, KILN_CORRUPT);
    EXPECT_NE(opened.text().find(part), std::string::npos) << opened.text();
  }
};

TEST_F(Image, RefusesWhatIsNotElf) {
  elf[0] = 0;
  expectRefusal("image test: not a 64-bit little-endian ELF image");
}

TEST_F(Image, RefusesAnEmptySection) {
  elf.clear();
  expectRefusal("image test: expected an ELF header, found 0 bytes");
}

TEST_F(Image, RefusesAnExecutable) {
  elf[16] = 2;
  expectRefusal("expected a shared object (ELF type 3), found type 2");
}

TEST_F(Image, RefusesAnImageOfAnotherMachine) {
  elf[18] = 243;
  expectRefusal("found 243");
}

TEST_F(Image, RefusesProgramHeadersOutside) {
  write64(32, UINT64_MAX - 20);
  expectRefusal("program headers lie outside the image");
}

TEST_F(Image, RefusesSegmentsOutside) {
  write64(header(1) + 8, UINT64_MAX);
  expectRefusal("segment 0 lies outside the image");
}

TEST_F(Image, RefusesSegmentsThatWrap) {
  write64(executable() + 16, UINT64_MAX - 10);
  expectRefusal("lies outside the image");
}

TEST_F(Image, RefusesHugeSegments) {
  write64(executable() + 40, uint64_t(1) << 40);
  expectRefusal("the image spans more than");
}

TEST_F(Image, RefusesOverlappingSegments) {
  write64(executable() + 16, 0);
  expectRefusal("overlaps the one before it");
}

TEST_F(Image, RefusesWritableCode) {
  elf[executable() + 4] |= 2;
  expectRefusal("is both writable and executable");
}

TEST_F(Image, RefusesThreadLocalStorage) {
  write64(header(2), read64(elf, header(2)) - 2 + 7); // the dynamic table becomes a TLS segment
  expectRefusal("an image may not have thread-local storage");
}

TEST_F(Image, RefusesImports) {
  elf[dynamic(11 /* DT_SYMENT */)] = 1; // DT_NEEDED
  expectRefusal("dynamic tag 0x1 is not allowed");
}

TEST_F(Image, RefusesInitializers) {
  elf[dynamic(11)] = 25; // DT_INIT_ARRAY
  expectRefusal("dynamic tag 0x19 is not allowed");
}

TEST_F(Image, RefusesOtherRelocations) {
  size_t table = read64(elf, dynamic(7) + 8); // DT_RELA; the first segment begins at 0
  elf[table + 8] = 1;
  expectRefusal("only relative is allowed");
}

TEST_F(Image, RefusesRelocationsOutside) {
  size_t table = read64(elf, dynamic(7) + 8);
  write64(table, UINT64_MAX - 3);
  expectRefusal("a relocation points outside the image or into its code");
}

TEST_F(Image, RefusesRelocationsInCode) {
  size_t table = read64(elf, dynamic(7) + 8);
  write64(table, read64(elf, executable() + 16));
  expectRefusal("a relocation points outside the image or into its code");
}

TEST_F(Image, RefusesARelocationTableOutside) {
  write64(dynamic(8 /* DT_RELASZ */) + 8, 24u << 20);
  expectRefusal("the relocation table lies outside the image");
}

TEST_F(Image, RefusesEveryTruncatedPrefix) {
  Bytes whole = elf;
  // Section headers come last and are not read: cut inside what is loaded.
  size_t end = 0;
  for (int n = 0; n < 3; ++n)
    end = std::max<size_t>(end, read64(whole, header(1, n) + 8) + read64(whole, header(1, n) + 32));
  for (size_t size = 0; size < end; size += 1 + size / 100) {
    elf.assign(whole.begin(), whole.begin() + size);
    Opened opened(toy);
    ASSERT_EQ(opened.status, KILN_CORRUPT) << size;
  }
}

} // namespace
