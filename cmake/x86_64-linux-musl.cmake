# Static programs for x86-64 Linux with musl (Debian's musl-dev) and the system's GCC. Of the C++
# library only headers are used; they take the libc for glibc in two places, which the definitions
# below answer.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_C_COMPILER gcc)
set(CMAKE_CXX_COMPILER g++)
set(musl /usr/include/x86_64-linux-musl)

# The compiler's own folders of headers, without the system's.
execute_process(COMMAND ${CMAKE_CXX_COMPILER} -E -x c++ -v /dev/null
  OUTPUT_QUIET ERROR_VARIABLE said)
string(REGEX MATCH "search starts here:\n(.*)End of search" found "${said}")
string(REGEX MATCHALL "/[^\n]+" folders "${CMAKE_MATCH_1}")
set(cxx_folders)
set(own_folders)
foreach(folder ${folders})
  if(folder MATCHES "/c\\+\\+/")
    list(APPEND cxx_folders -isystem ${folder})
  elseif(folder MATCHES "/gcc/")
    list(APPEND own_folders -isystem ${folder})
  endif()
endforeach()

# What the runtime needs beside the libc: two header-only libraries, and the kernel's headers.
set(headers ${CMAKE_BINARY_DIR}/host-headers)
file(MAKE_DIRECTORY ${headers})
foreach(header flatbuffers xxhash.h linux asm-generic x86_64-linux-gnu/asm)
  get_filename_component(name ${header} NAME)
  file(CREATE_LINK /usr/include/${header} ${headers}/${name} SYMBOLIC)
endforeach()

list(JOIN cxx_folders " " cxx_folders)
list(JOIN own_folders " " own_folders)
set(CMAKE_C_FLAGS_INIT "-nostdinc -isystem ${musl} ${own_folders} -isystem ${headers}")
set(CMAKE_CXX_FLAGS_INIT "-nostdinc -nostdinc++ ${cxx_folders} -isystem ${musl} ${own_folders} \
-isystem ${headers} -D__locale_t=locale_t \"-D__GLIBC_PREREQ(major,minor)=0\"")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-static -specs=/usr/lib/x86_64-linux-musl/musl-gcc.specs")
