export { eraseUser, getPerson, personTag } from './privacy/erase-user.ts'
export { createExport, deleteExport, exportTag, getExport, listExports, readArchive } from './privacy/exports.ts'
