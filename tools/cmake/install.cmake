# install and find_package(Juxta): headers under include/juxta, one static library per room.
include(CMakePackageConfigHelpers)
get_property(rooms GLOBAL PROPERTY JUXTA_ROOMS)
install(TARGETS ${rooms} juxta EXPORT JuxtaTargets)
install(EXPORT JuxtaTargets NAMESPACE juxta:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Juxta)
foreach(room tensor kernels autograd nn ssl)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/juxta
          FILES_MATCHING PATTERN "*.h")
endforeach()
configure_package_config_file(tools/cmake/JuxtaConfig.cmake.in ${PROJECT_BINARY_DIR}/JuxtaConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Juxta)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/JuxtaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/JuxtaConfig.cmake ${PROJECT_BINARY_DIR}/JuxtaConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Juxta)
if(TARGET juxta_program)
  install(TARGETS juxta_program)
endif()
