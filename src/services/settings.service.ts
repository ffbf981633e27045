export { refreshStaleSettings } from './settings/refresh.ts'
export {
  getSetting,
  listSettingChanges,
  listSettings,
  resetSetting,
  setSetting,
  settingTag,
} from './settings/settings.ts'
export { readSystemComponents, readSystemConfig, readSystemInfo, readSystemMetrics } from './settings/system.ts'
