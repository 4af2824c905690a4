# juxta_room(NAME LINK <public libs> PRIVATE <private libs>): the static library of one room, from its .cpp files.
# Files named *.simd.cpp are compiled once per instruction set instead (juxta_isa_objects).
function(juxta_room name)
  cmake_parse_arguments(ROOM "" "" "LINK;PRIVATE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${name}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "\\.simd\\.cpp$")
  if(NOT sources)
    return()
  endif()
  add_library(juxta_${name} STATIC ${sources})
  add_library(juxta::${name} ALIAS juxta_${name})
  set_target_properties(juxta_${name} PROPERTIES EXPORT_NAME ${name})
  target_compile_features(juxta_${name} PUBLIC cxx_std_20)
  target_link_libraries(juxta_${name} PUBLIC ${ROOM_LINK} PRIVATE $<BUILD_INTERFACE:juxta_flags>)
  foreach(lib ${ROOM_PRIVATE})
    target_link_libraries(juxta_${name} PRIVATE $<BUILD_INTERFACE:${lib}>)
  endforeach()
  target_include_directories(juxta_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/juxta>)
  set_property(GLOBAL APPEND PROPERTY JUXTA_ROOMS juxta_${name})
endfunction()

# juxta_glue(TARGET LEVEL HEADERS...): for code that calls kernels and has no hot loops of its own. Its most included
# headers are parsed once, and `level` (-O2, or -O1 for what only sets up and checks) takes the place of -O3: together
# half the compile time.
function(juxta_glue target level)
  target_precompile_headers(${target} PRIVATE ${ARGN})
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:${level}>)
endfunction()

set(JUXTA_ISA_NAMES generic)
set(JUXTA_ISA_FLAGS_generic "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND JUXTA_ISA_NAMES avx2 avx512 avx512bf16)
  set(JUXTA_ISA_FLAGS_avx2 -mavx2 -mfma -mf16c)
  set(JUXTA_ISA_FLAGS_avx512 ${JUXTA_ISA_FLAGS_avx2}
      -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512)
  set(JUXTA_ISA_FLAGS_avx512bf16 ${JUXTA_ISA_FLAGS_avx512} -mavx512bf16)
endif()

# JUXTA_ISAS=native leaves out all but this machine's best and the generic kernels: a quicker build for one machine, not
# for the tests, which visit every level. -march=native tells what there is.
set(JUXTA_ISA_BUILT ${JUXTA_ISA_NAMES})
if(JUXTA_ISAS STREQUAL native)
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -march=native -dM -E -xc++ /dev/null
    OUTPUT_VARIABLE native_macros COMMAND_ERROR_IS_FATAL ANY)
  set(JUXTA_ISA_BUILT generic)
  if(native_macros MATCHES "__AVX512BF16__")
    list(APPEND JUXTA_ISA_BUILT avx512 avx512bf16)  # the f32 kernels of both are avx512's
  elseif(native_macros MATCHES "__AVX512VL__" AND native_macros MATCHES "__AVX512BW__")
    list(APPEND JUXTA_ISA_BUILT avx512)
  elseif(native_macros MATCHES "__AVX2__" AND native_macros MATCHES "__FMA__")
    list(APPEND JUXTA_ISA_BUILT avx2)
  endif()
elseif(NOT JUXTA_ISAS STREQUAL all)
  message(FATAL_ERROR "JUXTA_ISAS: expected all or native, got '${JUXTA_ISAS}'")
endif()

# Compiles kernels/*.simd.cpp once per instruction set into juxta_isa_<name> and adds the objects to `target`. At least
# -O2 in every configuration: without inlining these files would leave weak copies of inline functions behind.
function(juxta_isa_objects target)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*.simd.cpp)
  set(mask 0)
  foreach(isa ${JUXTA_ISA_BUILT})
    list(FIND JUXTA_ISA_NAMES ${isa} level)
    math(EXPR mask "${mask} | (1 << ${level})")
    add_library(juxta_isa_${isa} OBJECT ${sources})
    target_link_libraries(juxta_isa_${isa} PRIVATE juxta_flags)
    target_compile_definitions(juxta_isa_${isa} PRIVATE JX_ISA=${isa} JX_LEVEL=${level})
    target_compile_options(juxta_isa_${isa} PRIVATE -O2 -fno-exceptions ${JUXTA_ISA_FLAGS_${isa}})
    target_precompile_headers(juxta_isa_${isa} PRIVATE "kernels/simd.h" "kernels/table.h")
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:juxta_isa_${isa}>)
  endforeach()
  # Told to those alone who ask, so that going from native to all compiles little again.
  target_compile_definitions(${target} PRIVATE JUXTA_ISA_MASK=${mask})
  set_source_files_properties(${PROJECT_SOURCE_DIR}/tensor/cpu.cpp PROPERTIES
    COMPILE_DEFINITIONS JUXTA_ISA_MASK=${mask})
endfunction()

# kernels/*.cu: always compiled by the C++ compiler against the emulator; with JUXTA_CUDA also by nvcc, through a file
# each in the build folder, because a source has one language.
function(juxta_cuda_objects target)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*.cu)
  set_source_files_properties(${sources} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-xc++")
  add_library(juxta_emu OBJECT ${sources})
  target_link_libraries(juxta_emu PRIVATE juxta_flags)
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:juxta_emu>)
  if(NOT JUXTA_CUDA)
    return()
  endif()
  set(wrappers "")
  foreach(source ${sources})
    get_filename_component(name ${source} NAME)
    file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/cuda/${name} CONTENT "#include \"kernels/${name}\"\n" @ONLY)
    list(APPEND wrappers ${PROJECT_BINARY_DIR}/cuda/${name})
  endforeach()
  add_library(juxta_cuda OBJECT ${wrappers})
  target_include_directories(juxta_cuda PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_options(juxta_cuda PRIVATE
    -Xcompiler=-Wall,-Wextra $<$<BOOL:${JUXTA_WERROR}>:--Werror=all-warnings>)
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:juxta_cuda>)
  target_compile_definitions(${target} PRIVATE JUXTA_WITH_CUDA)
  target_link_libraries(${target} PRIVATE CUDA::cudart_static)
endfunction()
