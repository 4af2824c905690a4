# The juxta program: one file per subcommand under tools/.
file(GLOB tool_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tools/*.cpp)
if(tool_sources)
  find_package(CLI11 REQUIRED)
  add_executable(juxta_program ${tool_sources})
  set_target_properties(juxta_program PROPERTIES OUTPUT_NAME juxta)
  target_compile_definitions(juxta_program PRIVATE JUXTA_VERSION="${PROJECT_VERSION}")
  target_link_libraries(juxta_program PRIVATE juxta juxta_flags CLI11::CLI11 nlohmann_json::nlohmann_json)
  juxta_glue(juxta_program <nlohmann/json.hpp> "tools/commands.h")
  target_compile_options(juxta_program PRIVATE $<$<CONFIG:Release>:-O1>)  # the templates of the command line
endif()
