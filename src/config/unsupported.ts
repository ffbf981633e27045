/** Names of the original product that nothing here reads yet, exact or by prefix (`*`). */
const names = `
CLERK_* NEXT_PUBLIC_* NEXTAUTH_* AUTH_* COMPOSIO_* FUTUREAGI_* S3_* MARKETPLACE_* PLUGIN_*
CHANNELS_ENABLED ENABLE_BATCH_API SEMANTIC_TOOL_ROUTING ENABLE_LLM_QUALITY_ASSESSMENT
ENABLE_CONTEXT_OPTIMIZATION INJECT_DAILY_LOGS COMPLEXITY_CACHE_TTL_HOURS SQL_DEBUG MEMORY_* CONTEXT_BUDGET_*
API_KEY ORCHESTRATOR_API_KEY AUTOMATOS_* REQUIRE_API_KEY REQUIRE_AUTH DEFAULT_WORKSPACE_ID WORKSPACE_ID
AZURE_OPENAI_* XAI_API_KEY COHERE_* GEMINI_API_KEY LLM_TEMPERATURE LLM_MAX_TOKENS DEPLOY_HOST DEPLOY_PORT DEPLOY_USER
OPENROUTER_SITE_URL RAILWAY_* INTERNAL_API_HOSTNAME INTERNAL_FRONTEND_HOSTNAME SKILLS_SH_API_URL ROUTING_*
GITHUB_PAT GITHUB_REPO_OWNER GITHUB_REPO_NAME GITHUB_DEFAULT_BRANCH GITHUB_WEBHOOK_* GITHUB_PR_WORKFLOW_NAME
WEBHOOK_* WIDGET_* PLAYBOOKS_REQUIRE_TENANT TASK_* WORKSPACE_VOLUME_PATH WORKSPACE_DEFAULT_QUOTA_GB WORKER_*
DEFAULT_MAX_CONCURRENT_* LOKI_URL PROMETHEUS_URL ALERTMANAGER_URL RECIPE_SCRATCHPAD_TTL RECIPE_LOG_* MEM0_*
AGENT_OPT_WORKER_URL JIRA_* EMBEDDING_PROVIDER EMBEDDING_MODEL VECTOR_STORE_DIMENSIONS PANDASAI_* IMAGE_STORE_LOCAL_DIR
GOTENBERG_URL DOCUMENT_STORAGE_DIR KNOWLEDGE_API_BASE_URL RAG_* PREMIUM_MODELS BUDGET_MODELS
PREMIUM_TO_BUDGET_SAVINGS_RATIO VOICE_* AUTO_VOICE_* BOOT_REAPER_* PLATFORM_STAFF_EMAIL_DOMAIN PUBLIC_API_HOST
`
  .trim()
  .split(/\s+/)

const exact = new Set(names.filter((name) => !name.endsWith('*')))
const prefixes = names.filter((name) => name.endsWith('*')).map((name) => name.slice(0, -1))

/** Our own command line reads these, in the same folder and container. */
const ofTheCommandLine = new Set(['AUTOMATOS_URL', 'AUTOMATOS_API_KEY'])

const insteadOf: Record<string, string> = {
  GEMINI_API_KEY: 'use GOOGLE_API_KEY',
  API_KEY: 'use ADMIN_API_KEY',
  ORCHESTRATOR_API_KEY: 'use ADMIN_API_KEY',
  REQUIRE_AUTH: 'there is no anonymous access',
  REQUIRE_API_KEY: 'there is no anonymous access',
}

/** A line for a variable that an installation of the original may carry over; undefined for anything else. */
export function unsupportedWarning(variable: string): string | undefined {
  if (ofTheCommandLine.has(variable)) return undefined
  if (!exact.has(variable) && !prefixes.some((prefix) => variable.startsWith(prefix))) return undefined
  const hint = insteadOf[variable]
  return `${variable} is set but not supported by this version${hint ? `: ${hint}` : ''}.`
}
