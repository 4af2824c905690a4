# juxta_tests: every tests/*_test.cpp. `ctest` runs each test case by itself; slow ones carry the label "slow".
find_package(GTest REQUIRED)
file(GLOB test_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/*.cpp)
if(test_sources)
  add_executable(juxta_tests ${test_sources})
  target_compile_definitions(juxta_tests PRIVATE JUXTA_TEST_DATA="${PROJECT_SOURCE_DIR}/tests"
    JUXTA_BINARY_DIR="${PROJECT_BINARY_DIR}" JUXTA_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_link_libraries(juxta_tests PRIVATE juxta juxta_flags GTest::gtest nlohmann_json::nlohmann_json)
  juxta_glue(juxta_tests -O0 <cmath> "tests/harness.h")
  add_library(juxta_fake_cudart MODULE tests/fake_cudart/cudart.cpp)
  target_link_libraries(juxta_fake_cudart PRIVATE juxta_flags)
  target_compile_definitions(juxta_tests PRIVATE JUXTA_FAKE_CUDART="$<TARGET_FILE:juxta_fake_cudart>")
  add_dependencies(juxta_tests juxta_fake_cudart)
  if(TARGET juxta_program)
    add_dependencies(juxta_tests juxta_program)
  endif()
  add_test(NAME fast COMMAND juxta_tests --gtest_filter=-*Slow* --gtest_brief=1)
  add_test(NAME slow COMMAND juxta_tests --gtest_filter=*Slow* --gtest_brief=1)
  set_tests_properties(fast slow PROPERTIES WORKING_DIRECTORY ${PROJECT_BINARY_DIR})
  set_tests_properties(fast PROPERTIES LABELS fast)
  set_tests_properties(slow PROPERTIES LABELS slow)
endif()

# juxta_memory_tests: the emulator and everything that reads files, under address and undefined-behaviour sanitizers in
# every preset. A small program of its own sources, because sanitized and plain objects do not mix.
file(GLOB memory_sources CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/tensor/*.cpp ${PROJECT_SOURCE_DIR}/kernels/gpu_emu*.cpp)
foreach(name data/dataset data/formats data/image data/sample)
  list(APPEND memory_sources ${PROJECT_SOURCE_DIR}/ssl/${name}.cpp)
endforeach()
foreach(name support files_test data_test gpu_emu_test gpu_emu_memory_test)
  list(APPEND memory_sources ${PROJECT_SOURCE_DIR}/tests/${name}.cpp)
endforeach()
add_executable(juxta_memory_tests ${memory_sources})
target_compile_options(juxta_memory_tests PRIVATE -O0 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined
  -fno-sanitize-recover=undefined)
target_link_options(juxta_memory_tests PRIVATE -fsanitize=address,undefined)
target_link_libraries(juxta_memory_tests PRIVATE juxta_flags GTest::gtest GTest::gtest_main
  nlohmann_json::nlohmann_json Threads::Threads ZLIB::ZLIB JPEG::JPEG PNG::PNG ${CMAKE_DL_LIBS})
add_test(NAME memory COMMAND juxta_memory_tests --gtest_brief=1)
set_tests_properties(memory PROPERTIES LABELS fast WORKING_DIRECTORY ${PROJECT_BINARY_DIR})
