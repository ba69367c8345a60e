# The launchers of `kiln compile --emit executable`, one per architecture: programs of their own, in
# lib/kiln beside the runtime's libraries, in the build as in an installation. The machine's own is
# built with the program `kiln`; that of another architecture where there is a cross compiler.
include(ExternalProject)
include(GNUInstallDirs)

# Relative to the folder of `kiln`.
file(RELATIVE_PATH KILN_LAUNCHER_PLACE /prefix/${CMAKE_INSTALL_BINDIR} /prefix/${CMAKE_INSTALL_LIBDIR}/kiln)
set(launcher_folder ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/${KILN_LAUNCHER_PLACE})
get_filename_component(launcher_folder ${launcher_folder} ABSOLUTE)

# kiln_launcher(ARCHITECTURE [TOOLCHAIN])
function(kiln_launcher architecture)
  set(arguments -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER_LAUNCHER=${CMAKE_C_COMPILER_LAUNCHER}
                -DCMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER})
  if(ARGC GREATER 1)
    list(APPEND arguments -DCMAKE_TOOLCHAIN_FILE=${ARGV1})
  endif()
  set(built ${PROJECT_BINARY_DIR}/launchers/${architecture})
  set(launcher ${launcher_folder}/launcher-${architecture})
  ExternalProject_Add(kiln_launcher_${architecture}
    SOURCE_DIR ${PROJECT_SOURCE_DIR}/runtime
    BINARY_DIR ${built}
    CMAKE_ARGS ${arguments}
    BUILD_COMMAND ${CMAKE_COMMAND} --build ${built} --target kiln_launcher
    BUILD_ALWAYS ON
    INSTALL_COMMAND ${CMAKE_COMMAND} -E make_directory ${launcher_folder}
    COMMAND ${CMAKE_COMMAND} -E copy_if_different ${built}/launcher/kiln_launcher ${launcher})
  install(PROGRAMS ${launcher} DESTINATION ${CMAKE_INSTALL_LIBDIR}/kiln OPTIONAL)
endfunction()

if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND NOT KILN_FUZZ)
  # The smallest that needs nothing of the system: with musl. Else with this system's libc.
  find_program(KILN_MUSL_GXX g++)
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64" AND KILN_MUSL_GXX AND EXISTS /usr/lib/x86_64-linux-musl/libc.a
     AND EXISTS /usr/lib/x86_64-linux-musl/musl-gcc.specs)
    kiln_launcher(x86_64 ${PROJECT_SOURCE_DIR}/cmake/x86_64-linux-musl.cmake)
  else()
    kiln_launcher(${CMAKE_SYSTEM_PROCESSOR})
  endif()
  find_program(AARCH64_CXX aarch64-linux-gnu-g++)
  if(AARCH64_CXX AND NOT CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
    kiln_launcher(aarch64 ${PROJECT_SOURCE_DIR}/cmake/aarch64-linux.cmake)
  endif()
endif()
