// Links an object of kernels to a position-independent image: runs ld.lld as a process (its
// libraries are static and would bring a second LLVM), refuses undefined symbols, and reads kernel
// entries from the result's symbol table, so that the runtime needs no symbols at all.
#include "codegen/LinkImage.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"

using namespace kiln;

static llvm::Expected<std::string> findLinker() {
  llvm::ErrorOr<std::string> path = llvm::sys::findProgramByName("ld.lld-22");
  if (!path)
    path = llvm::sys::findProgramByName("ld.lld", {KILN_LLVM_TOOLS_DIR});
  if (!path)
    return llvm::createStringError("ld.lld-22 is not installed (Debian package lld-22)");
  return *path;
}

static llvm::Error readEntries(llvm::StringRef elf, KernelImage &image) {
  auto binary = llvm::object::ObjectFile::createELFObjectFile(llvm::MemoryBufferRef(elf, "image"));
  if (!binary)
    return binary.takeError();
  for (KernelImage::Kernel &kernel : image.kernels) {
    kernel.entry = 0;
    auto *object = llvm::cast<llvm::object::ELFObjectFileBase>(binary->get());
    for (llvm::object::ELFSymbolRef symbol : object->getDynamicSymbolIterators()) {
      llvm::Expected<llvm::StringRef> name = symbol.getName();
      if (!name)
        return name.takeError();
      if (*name != kernel.name)
        continue;
      llvm::Expected<uint64_t> address = symbol.getAddress();
      if (!address)
        return address.takeError();
      kernel.entry = *address;
    }
    if (!kernel.entry)
      return llvm::createStringError("the linked image has no kernel " + kernel.name);
  }
  return llvm::Error::success();
}

llvm::Error kiln::linkImage(llvm::ArrayRef<char> object, KernelImage &image) {
  llvm::Expected<std::string> linker = findLinker();
  if (!linker)
    return linker.takeError();
  llvm::SmallString<128> objectPath, imagePath, messagePath;
  for (auto [path, suffix] :
       {std::pair(&objectPath, "o"), {&imagePath, "elf"}, {&messagePath, "txt"}})
    if (std::error_code error = llvm::sys::fs::createTemporaryFile("kiln", suffix, *path))
      return llvm::createStringError(error, "cannot create a temporary file");
  llvm::FileRemover removeObject(objectPath), removeImage(imagePath), removeMessages(messagePath);
  {
    std::error_code error;
    llvm::raw_fd_ostream out(objectPath, error);
    out.write(object.data(), object.size());
    out.close();
    if (out.has_error()) {
      std::error_code reason = out.error();
      out.clear_error();
      return llvm::createStringError(reason, objectPath + ": cannot be written");
    }
  }
  llvm::SmallVector<llvm::StringRef> args = {*linker,
                                             "-shared",
                                             "--no-undefined",
                                             "-Bsymbolic",
                                             "--gc-sections",
                                             "--build-id=none",
                                             "--hash-style=sysv",
                                             "--strip-all",
                                             "-z",
                                             "noexecstack",
                                             "-z",
                                             "max-page-size=16384",
                                             "-z",
                                             "separate-code",
                                             "-o",
                                             imagePath,
                                             objectPath};
  std::string message;
  std::optional<llvm::StringRef> redirects[] = {std::nullopt, messagePath.str(), messagePath.str()};
  if (llvm::sys::ExecuteAndWait(*linker, args, std::nullopt, redirects, 0, 0, &message) != 0) {
    if (auto text = llvm::MemoryBuffer::getFile(messagePath))
      message += (*text)->getBuffer();
    return llvm::createStringError("linking kernels for " + image.target + ": " + message);
  }
  auto linked = llvm::MemoryBuffer::getFile(imagePath, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!linked)
    return llvm::createStringError(linked.getError(), imagePath + ": cannot be read");
  llvm::StringRef bytes = (*linked)->getBuffer();
  image.elf.assign(bytes.bytes_begin(), bytes.bytes_end());
  return readEntries(bytes, image);
}
