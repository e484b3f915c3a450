"""The codes that occur in records, with a label in Chinese and English.

Rule: data.  All of these lists are open: WeChat adds codes without notice, and a code that is not
here has no label.  Sources: the pages of the interfaces, and what staff and clients report where
these are silent (the channels 43, 51, 75, 78 and 176 are on no current page).
"""

from __future__ import annotations

from collections.abc import Mapping

from harvester.model import Code

Codes = tuple[Code, ...]

CHANNELS: Codes = (
    Code(0, "其他合计", "all other channels"),
    Code(1, "搜索公众号", "search"),
    Code(17, "名片分享", "shared contact card"),
    Code(30, "扫描二维码", "QR code"),
    Code(43, "文章页右上角菜单", "menu of an article"),
    Code(51, "支付后关注", "after a payment"),
    Code(57, "文章内账号名称", "name in an article"),
    Code(75, "公众号文章广告", "ads in articles"),
    Code(78, "朋友圈广告", "ads in Moments"),
    Code(100, "微信广告", "ads"),
    Code(149, "小程序关注", "mini-program"),
    Code(161, "他人转载", "repost by another account"),
    Code(176, "专辑内账号名称", "name in an album"),
    Code(200, "视频号", "Channels"),
    Code(201, "直播", "live broadcast"),
)

READ_SOURCES: Codes = (
    Code(99999999, "全部", "all"),
    Code(0, "公众号会话", "conversation"),
    Code(1, "好友转发", "friends"),
    Code(2, "朋友圈", "Moments"),
    Code(3, "腾讯微博", "Tencent Weibo"),
    Code(4, "历史消息页", "history page"),
    Code(5, "其他", "other"),
    Code(6, "看一看", "Top Stories"),
    Code(7, "搜一搜", "Search"),
)
"""Where a reader of the retired interfaces came from."""

SHARE_SCENES: Codes = (
    Code(1, "好友转发", "friend"),
    Code(2, "朋友圈", "Moments"),
    Code(3, "腾讯微博", "Tencent Weibo"),
    Code(255, "其他", "other"),
)

SCENES: Codes = (
    Code("全部", "全部", "all"),
    Code("公众号消息", "公众号消息", "message"),
    Code("聊天会话", "聊天会话", "chat"),
    Code("朋友圈", "朋友圈", "Moments"),
    Code("公众号主页", "公众号主页", "account page"),
    Code("推荐", "推荐", "recommended"),
    Code("搜一搜", "搜一搜", "Search"),
    Code("其他", "其他", "other"),
)
"""Where a reader came from, as interfaces since 2025 name it."""

PUBLISH_TYPES: Codes = (
    Code(0, "群发 (有通知)", "with notification"),
    Code(1, "发布 (无通知)", "without notification"),
)

MESSAGE_TYPES: Codes = (
    Code(1, "文字", "text"),
    Code(2, "图片", "picture"),
    Code(3, "语音", "voice"),
    Code(4, "视频", "video"),
    Code(6, "链接或第三方应用", "link or other app"),
)

INTERVALS: Codes = (
    Code(0, "0 条", "none"),
    Code(1, "1–5 条", "1 to 5"),
    Code(2, "6–10 条", "6 to 10"),
    Code(3, "10 条以上", "more than 10"),
)

FIFTHS: Codes = tuple(
    Code(n, f"{20 * n - 20}–{20 * n}%", f"{20 * n - 20} to {20 * n} %") for n in range(1, 6)
)

DISTRIBUTIONS: Codes = (
    Code("access_source_session_cnt", "访问来源 (打开次数)", "sessions by source"),
    Code("access_source_visit_uv", "访问来源 (人数)", "visitors by source"),
    Code("access_staytime_info", "访问时长", "duration of the visit"),
    Code("access_depth_info", "访问深度", "depth of the visit"),
)

VISIT_SOURCES: Codes = (
    Code(1, "小程序历史列表", "recently used mini-programs"),
    Code(2, "搜索", "search"),
    Code(3, "会话", "chat"),
    Code(4, "扫一扫二维码", "scanned QR code"),
    Code(5, "公众号主页", "account page"),
    Code(6, "聊天顶部", "top of a chat"),
    Code(7, "系统桌面", "home screen of the device"),
    Code(8, "小程序主页", "page of the mini-program"),
    Code(9, "附近的小程序", "mini-programs nearby"),
    Code(10, "其他", "other"),
    Code(11, "模板消息", "template message"),
    Code(12, "客服消息", "customer service message"),
    Code(13, "公众号菜单", "menu of an account"),
    Code(14, "APP 分享", "shared from an app"),
    Code(15, "支付完成页", "page after a payment"),
    Code(16, "长按识别二维码", "QR code by long press"),
    Code(17, "相册选取二维码", "QR code from an album"),
    Code(18, "公众号文章", "article"),
    Code(19, "钱包", "Wallet"),
    Code(20, "卡包", "Cards & Offers"),
    Code(21, "小程序内卡券", "coupon in a mini-program"),
    Code(22, "其他小程序", "another mini-program"),
    Code(23, "其他小程序返回", "return from another mini-program"),
    Code(24, "卡券适用门店列表", "shops that take a coupon"),
    Code(25, "搜索框快捷入口", "shortcut in the search box"),
    Code(26, "小程序客服消息", "customer service message of the mini-program"),
    Code(27, "公众号下发", "sent by an account"),
    Code(28, "系统会话菜单", "menu of a system chat"),
    Code(29, "任务栏-最近使用", "task bar: recently used"),
    Code(30, "长按小程序菜单圆点", "menu button by long press"),
    Code(31, "连 Wi-Fi 成功页", "page after joining Wi-Fi"),
    Code(32, "城市服务", "city services"),
    Code(33, "微信广告", "ads"),
    Code(34, "其他移动应用", "another mobile app"),
    Code(35, "发现入口-我的小程序", "Discover: my mini-programs"),
    Code(36, "任务栏-我的小程序", "task bar: my mini-programs"),
    Code(37, "微信圈子", "Circles"),
    Code(38, "手机充值", "mobile top-up"),
    Code(39, "H5", "web page"),
    Code(40, "插件", "plugin"),
    Code(41, "大家在用", "what others use"),
    Code(42, "发现页", "Discover"),
    Code(43, "浮窗", "floating window"),
    Code(44, "附近的人", "people nearby"),
    Code(45, "看一看", "Top Stories"),
    Code(46, "朋友圈", "Moments"),
    Code(47, "企业微信", "WeCom"),
    Code(48, "视频", "video"),
    Code(49, "收藏", "favourites"),
    Code(50, "微信红包", "red packet"),
    Code(51, "微信游戏中心", "Game Center"),
    Code(52, "摇一摇", "Shake"),
    Code(53, "公众号导购消息", "shopping message of an account"),
    Code(54, "识物", "object recognition"),
    Code(55, "小程序订单", "orders of mini-programs"),
    Code(56, "小程序直播", "live broadcast of a mini-program"),
    Code(57, "群工具", "group tools"),
)
"""Where visitors of a mini-program came from.  The page of getVisitDistribution lists these, each
with its scenes; 10 is any other scene."""

STAYS: Codes = (
    Code(1, "0–2 秒", "0 to 2 s"),
    Code(2, "3–5 秒", "3 to 5 s"),
    Code(3, "6–10 秒", "6 to 10 s"),
    Code(4, "11–20 秒", "11 to 20 s"),
    Code(5, "20–30 秒", "20 to 30 s"),
    Code(6, "30–50 秒", "30 to 50 s"),
    Code(7, "50–100 秒", "50 to 100 s"),
    Code(8, "100 秒以上", "more than 100 s"),
)
"""Classes of the time of a visit, with the bounds of the same page."""

DEPTHS: Codes = (
    *[Code(n, f"{n} 页", f"{n} page{'s' * (n > 1)}") for n in range(1, 6)],
    Code(6, "6–10 页", "6 to 10 pages"),
    Code(7, "10 页以上", "more than 10 pages"),
)

PARTS: Mapping[str, Codes] = {
    "access_source_session_cnt": VISIT_SOURCES,
    "access_source_visit_uv": VISIT_SOURCES,
    "access_staytime_info": STAYS,
    "access_depth_info": DEPTHS,
}
"""The parts of each of `DISTRIBUTIONS`.  The page names no codes of access_source_visit_uv; in
WeChat's community they are said to be those of access_source_session_cnt."""


def within(lists: Mapping[str, Codes]) -> Codes:
    """The codes of a field whose meaning another one decides (`harvester.model.Field.codes_by`)."""
    return tuple(
        code._replace(value=f"{name} {code.value}")
        for name, codes in lists.items()
        for code in codes
    )


def listed(codes: Codes) -> Mapping[Codes, list[str]]:
    """Codes of such a field as lists, each with what it is of."""
    lists: dict[str, list[Code]] = {}
    for code in codes:
        name, _, value = str(code.value).partition(" ")
        lists.setdefault(name, []).append(code._replace(value=value))
    found: dict[Codes, list[str]] = {}
    for name, each in lists.items():
        found.setdefault(tuple(each), []).append(name)
    return found


AD_SLOTS: Codes = (
    Code("SLOT_ID_BIZ_BOTTOM", "公众号底部广告", "account: bottom of an article"),
    Code("SLOT_ID_BIZ_MID_CONTEXT", "公众号文中广告", "account: within an article"),
    Code("SLOT_ID_BIZ_VIDEO_END", "公众号视频后贴广告", "account: after a video"),
    Code("SLOT_ID_BIZ_SPONSOR", "公众号互选广告", "account: sponsored ad"),
    Code("SLOT_ID_BIZ_CPS", "公众号返佣商品", "account: goods on commission"),
    Code("SLOT_ID_WEAPP_BANNER", "小程序 Banner 广告", "mini-program: banner"),
    Code("SLOT_ID_WEAPP_REWARD_VIDEO", "小程序激励视频广告", "mini-program: rewarded video"),
    Code("SLOT_ID_WEAPP_INTERSTITIAL", "小程序插屏广告", "mini-program: interstitial"),
    Code("SLOT_ID_WEAPP_VIDEO_FEEDS", "小程序视频广告", "mini-program: video"),
    Code("SLOT_ID_WEAPP_VIDEO_BEGIN", "小程序视频贴片广告", "mini-program: before a video"),
    Code("SLOT_ID_WEAPP_BOX", "小程序格子广告", "mini-program: box"),
    Code("SLOT_ID_WEAPP_COVER", "小程序封面广告", "mini-program: cover"),
    Code("SLOT_ID_WEAPP_TEMPLATE", "小程序原生模板广告", "mini-program: template"),
)

HALVES: Codes = (Code(1, "上半月", "first half"), Code(2, "下半月", "second half"))

SETTLEMENTS: Codes = (
    Code(1, "结算中", "being settled"),
    Code(2, "已结算", "settled"),
    Code(3, "已结算", "settled"),
    Code(4, "付款中", "being paid"),
    Code(5, "已付款", "paid"),
)

AD_UNIT_STATES: Codes = (
    Code("AD_UNIT_STATUS_ON", "开启", "on"),
    Code("AD_UNIT_STATUS_OFF", "关闭", "off"),
)
